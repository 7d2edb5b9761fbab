// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "calibrate/calibration_file.h"
#include "command.h"
#include "core/error_format.h"
#include "engine/recipe.h"
#include "image/png.h"
#include "inspect_calibration.h"
#include "inspect_model.h"
#include "inspect_tensors.h"
#include "weights/checkpoint.h"
#include "weights/model_folder.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void inspect_checkpoint(const ModelInspection& options) {
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

// A text of many lines whose other control characters are escaped: a file could steer the terminal
// with them. Commands in which that changes a character are exact with --json only.
std::string for_terminal(const std::string& text) {
  std::string result;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (at > 0) result += '\n';
    result += printable(std::string_view(text).substr(at, end - at), kMaxPngTextBytes);
    at = end + 1;
  }
  return result;
}

void inspect_image(const ModelInspection& options) {
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
  fmt::print("{}\nmade again by:\n  {}\n",
             for_terminal(find_text(info.texts, "parameters").value_or("")),
             for_terminal(recipe_command(*recipe, "again.png")));
}

bool looks_like_png(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  char signature[4] = {};
  file.read(signature, sizeof signature);
  return std::string_view(signature, sizeof signature) == "\x89PNG";
}

void inspect(const ModelInspection& options) {
  if (fs::is_regular_file(options.path) && looks_like_png(options.path)) {
    inspect_image(options);
  } else if (fs::is_regular_file(options.path) && is_calibration_file(options.path)) {
    inspect_calibration(options);
  } else if (fs::exists(fs::path(options.path) / kModelConfigName) &&
             !fs::exists(fs::path(options.path) / "model.safetensors.index.json")) {
    inspect_model(options);
  } else {
    inspect_checkpoint(options);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show what a checkpoint, model folder, picture or calibration holds");
  const auto options = std::make_shared<ModelInspection>();
  command->add_option("path", options->path, "What to look at")->required();
  command->add_flag("--json", options->json, "Print as JSON");
  command->add_flag("--tensors", options->tensors, "List the tensors of a model folder");
  command->add_flag("--verify", options->verify, "Compare checksums of a model folder's files");
  command->add_option("--kv", options->kv,
                      "With --json, of a calibration: also the head classes and the tokens cached "
                      "under this cache policy");
  command->callback([options] { inspect(*options); });
}

}  // namespace nextscale::cli
