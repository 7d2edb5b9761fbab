// SPDX-License-Identifier: Apache-2.0
#include "inspect_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/error_format.h"
#include "core/memory_info.h"
#include "inspect_tensors.h"
#include "models/infinity/schedules.h"
#include "models/registry.h"
#include "models/text/prompt_encoder.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale::cli {
namespace {

using nlohmann::json;

std::unique_ptr<ModelDescription> describe(const ModelFolder& folder, const std::string& size) {
  return describe_model(folder.family,
                        {.config = folder.config, .folder = folder.path, .size = size});
}

std::string label_text(const LabelShape& labels) {
  if (labels.per_token == 1) return fmt::format("vocabulary {}", labels.categories);
  return fmt::format("{} {} per token", labels.per_token, labels.name);
}

std::string subject_text(const ModelDescription& model) {
  if (model.num_classes() > 0) return fmt::format("{} classes", model.num_classes());
  const TextShape text = model.text();
  return fmt::format("prompts of at most {} tokens, {} features each", text.max_tokens,
                     text.channels);
}

// Nothing if the model is too small for this size.
std::optional<Grid> pixels_of(const ModelFolder& folder, const std::string& size) {
  try {
    return describe(folder, size)->image_pixels();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) throw;
    return std::nullopt;
  }
}

// Of models that have a choice: the squares, each standing for all shapes of its size.
void print_sizes(const ModelFolder& folder, const ModelDescription& model) {
  if (model.size().empty()) return;
  std::vector<std::string> sizes;
  for (const InfinitySize& size : infinity_sizes()) {
    const std::optional<Grid> pixels = pixels_of(folder, std::string(size.name));
    if (!pixels) continue;
    sizes.push_back(fmt::format("{} ({}x{})", size.name, pixels->width, pixels->height));
  }
  fmt::print("sizes {}, and other shapes of them such as 4:3@{}; {} unless told otherwise\n",
             fmt::join(sizes, ", "), infinity_sizes().front().name, model.size());
}

void print_text_encoder(const ModelFolder& folder, const ModelDescription& model) {
  if (model.text().channels == 0) return;
  if (!PromptEncoder::is_in(folder)) {
    fmt::print("no text encoder: runs want --text-features (`convert --text-encoder` adds one)\n");
    return;
  }
  const T5Config config = parse_t5_config(folder.config.at("text_encoder"));
  fmt::print("text encoder T5, {} layers, {} heads of {}, width {}\n", config.layers, config.heads,
             config.head_dim, config.width);
}

void print_defaults(const ModelDescription& model) {
  const SamplingDefaults defaults = model.defaults();
  fmt::print("by default --cfg {} --tau {} --top-k {} --top-p {}\n", fmt::join(defaults.cfg, ","),
             fmt::join(defaults.tau, ","), defaults.top_k, defaults.top_p);
}

void print_shape(const ModelFolder& folder, const ModelDescription& model) {
  const Geometry& geometry = model.geometry();
  fmt::print("model folder {}\nfamily {}, {} layers, {} heads of {}, {}, {}\n",
             folder.path.string(), folder.family, geometry.layers, geometry.query_heads,
             geometry.head_dim, label_text(model.labels()), subject_text(model));
  fmt::print("{} scales, {} tokens, {}x{} pixels\n", geometry.num_scales(),
             geometry.tokens_through(geometry.num_scales() - 1), model.image_pixels().width,
             model.image_pixels().height);
}

void print_files(const ModelFolder& folder, const ModelInspection& options) {
  for (const ModelFile& file : folder.files) {
    const std::string checksum =
        fmt::format("sha256 {}{}", file.sha256, options.verify ? " (verified)" : "");
    if (!file.name.ends_with(".safetensors")) {
      fmt::print("{}: {}, {}\n", file.name, format_bytes(file.bytes), checksum);
      continue;
    }
    const SafetensorsFile weights(folder.path / file.name);
    fmt::print("{}: {} parameters, {}, {}\n", file.name, num_elements(weights.tensors()),
               format_bytes(file.bytes), checksum);
    if (options.tensors) print_tensors(weights.tensors());
  }
  for (const json& source : folder.config.value("sources", json::array())) {
    fmt::print("from {} ({} bytes, sha256 {})\n", printable(source.value("file", "?")),
               source.value("bytes", uint64_t{0}), printable(source.value("sha256", "?")));
  }
}

}  // namespace

void inspect_model(const ModelInspection& options) {
  const ModelFolder folder = open_model_folder(options.path);
  const auto model = describe(folder, "");
  if (options.verify) verify_model_folder(folder);
  if (options.json) {
    json result = folder.config;
    result["hash"] = folder.hash;
    fmt::print("{}\n", result.dump(2));
    return;
  }
  print_shape(folder, *model);
  print_sizes(folder, *model);
  print_text_encoder(folder, *model);
  print_defaults(*model);
  print_files(folder, options);
  fmt::print("hash {}\n", folder.hash);
}

}  // namespace nextscale::cli
