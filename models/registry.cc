// SPDX-License-Identifier: Apache-2.0
#include "models/registry.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "models/infinity/convert.h"
#include "models/infinity/infinity_model.h"
#include "models/var/convert.h"
#include "models/var/var_model.h"

namespace nextscale {
namespace {

// For families whose models make pictures of one size: refuses any other.
void require_only_size(const ModelDescription& model, const ModelSource& source) {
  const Grid pixels = model.image_pixels();
  const std::string exact = fmt::format("{}x{}", pixels.width, pixels.height);
  const std::string side = std::to_string(std::max(pixels.height, pixels.width));
  if (source.size.empty() || source.size == side || source.size == exact) return;
  fail(ErrorCode::kUsage,
       "--size: the model in {} makes pictures of {} pixels, got '{}'; leave it out",
       source.folder.string(), exact, printable(source.size));
}

std::unique_ptr<ModelDescription> describe_var_folder(const ModelSource& source) {
  auto model = describe_var(parse_var_config(source.config), source.folder);
  require_only_size(*model, source);
  return model;
}

void convert_var_files(const ConvertOptions& options, const ConvertProgress& progress) {
  convert_var(options, progress);
}

std::unique_ptr<ModelDescription> describe_infinity_folder(const ModelSource& source) {
  return describe_infinity(parse_infinity_config(source.config), source.folder, source.size);
}

void convert_infinity_files(const ConvertOptions& options, const ConvertProgress& progress) {
  convert_infinity(options, progress);
}

constexpr std::array<FamilyRow, 2> kFamilies{{
    {"var", "class-conditional images, 256 and 512 px (VAR-d16 to d36)",
     "Tian et al., Visual Autoregressive Modeling, NeurIPS 2024", describe_var_folder,
     convert_var_files},
    {"infinity", "pictures of prompts, 0.06 to 1 megapixel, 15 shapes (Infinity 125M, 2B, 8B)",
     "Han et al., Infinity: Scaling Bitwise AutoRegressive Modeling, CVPR 2025",
     describe_infinity_folder, convert_infinity_files},
}};

}  // namespace

std::span<const FamilyRow> family_table() { return kFamilies; }

const FamilyRow& find_family(std::string_view name) {
  std::vector<std::string_view> names;
  for (const FamilyRow& row : kFamilies) {
    if (row.name == name) return row;
    names.push_back(row.name);
  }
  fail(ErrorCode::kUsage, "--family: there is no family '{}'{}; `nextscale models` lists all",
       printable(name), did_you_mean(name, names));
}

std::unique_ptr<ModelDescription> describe_model(const std::string& family,
                                                 const ModelSource& source) {
  std::vector<std::string_view> names;
  for (const FamilyRow& row : kFamilies) {
    if (row.name == family) return row.describe(source);
    names.push_back(row.name);
  }
  fail(ErrorCode::kUnsupported,
       "models: {} is of family '{}', which this version does not run; it runs {}",
       source.folder.string(), printable(family), fmt::join(names, ", "));
}

}  // namespace nextscale
