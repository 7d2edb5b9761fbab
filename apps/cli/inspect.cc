// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "calibrate/calibration_file.h"
#include "command.h"
#include "core/error_format.h"
#include "core/memory_info.h"
#include "engine/recipe.h"
#include "image/png.h"
#include "inspect_calibration.h"
#include "models/registry.h"
#include "weights/checkpoint.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct InspectOptions {
  std::string path;
  bool json = false;
  bool tensors = false;
  bool verify = false;
};

int64_t num_elements(const std::vector<TensorInfo>& tensors) {
  int64_t sum = 0;
  for (const TensorInfo& tensor : tensors) sum += tensor.shape.num_elements();
  return sum;
}

json tensor_list(const std::vector<TensorInfo>& tensors) {
  json list = json::array();
  for (const TensorInfo& tensor : tensors) {
    list.push_back({{"name", printable(tensor.name)},
                    {"dtype", dtype_name(tensor.dtype)},
                    {"shape", tensor.shape.extents()}});
  }
  return list;
}

void print_tensors(const std::vector<TensorInfo>& tensors) {
  for (const TensorInfo& tensor : tensors) {
    fmt::print("  {:<5} {:<22} {}\n", dtype_name(tensor.dtype), tensor.shape.to_string(),
               printable(tensor.name));
  }
}

void inspect_folder(const InspectOptions& options) {
  const ModelFolder folder = open_model_folder(options.path);
  const auto model =
      describe_model(folder.family, {.config = folder.config, .folder = folder.path});
  if (options.verify) verify_model_folder(folder);
  if (options.json) {
    json result = folder.config;
    result["hash"] = folder.hash;
    fmt::print("{}\n", result.dump(2));
    return;
  }
  const Geometry& geometry = model->geometry();
  const int last = geometry.num_scales() - 1;
  fmt::print("model folder {}\nfamily {}, {} layers, {} heads of {}, vocabulary {}, {} classes\n",
             folder.path.string(), folder.family, geometry.layers, geometry.query_heads,
             geometry.head_dim, model->labels().categories, model->num_classes());
  fmt::print("{} scales, {} tokens, {}x{} pixels\n", geometry.num_scales(),
             geometry.tokens_through(last), model->image_pixels().width,
             model->image_pixels().height);
  for (const ModelFile& file : folder.files) {
    const SafetensorsFile weights(folder.path / file.name);
    fmt::print("{}: {} parameters, {}, sha256 {}{}\n", file.name, num_elements(weights.tensors()),
               format_bytes(file.bytes), file.sha256, options.verify ? " (verified)" : "");
    if (options.tensors) print_tensors(weights.tensors());
  }
  for (const json& source : folder.config.value("sources", json::array())) {
    fmt::print("from {} ({} bytes, sha256 {})\n", printable(source.value("file", "?")),
               source.value("bytes", uint64_t{0}), printable(source.value("sha256", "?")));
  }
  fmt::print("hash {}\n", folder.hash);
}

void inspect_checkpoint(const InspectOptions& options) {
  const auto checkpoint = Checkpoint::open(options.path);
  const std::vector<TensorInfo>& tensors = checkpoint->tensors();
  if (options.json) {
    fmt::print("{}\n", json{{"format", checkpoint->format()},
                            {"parameters", num_elements(tensors)},
                            {"tensors", tensor_list(tensors)}}
                           .dump(2));
    return;
  }
  fmt::print("checkpoint {} ({}): {} tensors, {} elements\n", options.path, checkpoint->format(),
             tensors.size(), num_elements(tensors));
  print_tensors(tensors);
  for (const auto& [name, type] : checkpoint->unreadable()) {
    fmt::print("  {} has type {}, which this engine does not read\n", printable(name),
               printable(type));
  }
}

void inspect_image(const InspectOptions& options) {
  const PngInfo info = read_png_info(fs::path(options.path));
  const std::optional<Recipe> recipe = find_recipe(info.texts);
  if (options.json) {
    json result{{"width", info.width}, {"height", info.height}, {"texts", json::object()}};
    for (const ImageText& text : info.texts)
      result["texts"][text.key] = printable(text.value, kMaxPngTextBytes);
    if (recipe) result["command"] = recipe_command(*recipe, "again.png");
    fmt::print("{}\n", result.dump(2));
    return;
  }
  fmt::print("image {}: {}x{} pixels\n", options.path, info.width, info.height);
  if (!recipe) {
    fmt::print("no recipe: not made by nextscale, or its texts were removed\n");
    return;
  }
  fmt::print("{}\nmade again by:\n  {}\n", find_text(info.texts, "parameters").value_or(""),
             recipe_command(*recipe, "again.png"));
}

bool looks_like_png(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  char signature[4] = {};
  file.read(signature, sizeof signature);
  return std::string_view(signature, sizeof signature) == "\x89PNG";
}

void inspect(const InspectOptions& options) {
  if (fs::is_regular_file(options.path) && looks_like_png(options.path)) {
    inspect_image(options);
  } else if (fs::is_regular_file(options.path) && is_calibration_file(options.path)) {
    inspect_calibration(options.path, options.json ? InspectForm::kJson : InspectForm::kText);
  } else if (fs::exists(fs::path(options.path) / kModelConfigName) &&
             !fs::exists(fs::path(options.path) / "model.safetensors.index.json")) {
    inspect_folder(options);
  } else {
    inspect_checkpoint(options);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show what a checkpoint, model folder, picture or calibration holds");
  const auto options = std::make_shared<InspectOptions>();
  command->add_option("path", options->path, "What to look at")->required();
  command->add_flag("--json", options->json, "Print as JSON");
  command->add_flag("--tensors", options->tensors, "List the tensors of a model folder");
  command->add_flag("--verify", options->verify, "Compare checksums of a model folder's files");
  command->callback([options] { inspect(*options); });
}

}  // namespace nextscale::cli
