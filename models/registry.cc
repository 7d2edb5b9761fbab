// SPDX-License-Identifier: Apache-2.0
#include "models/registry.h"

#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "models/var/convert.h"
#include "models/var/var_model.h"

namespace nextscale {
namespace {

std::unique_ptr<ModelDescription> describe_var_config(const nlohmann::json& config,
                                                      const std::filesystem::path& folder) {
  return describe_var(parse_var_config(config), folder);
}

void convert_var_files(const ConvertOptions& options, const ConvertProgress& progress) {
  convert_var(options, progress);
}

constexpr std::array<FamilyRow, 1> kFamilies{{
    {"var", "class-conditional images, 256 and 512 px (VAR-d16 to d36)",
     "Tian et al., Visual Autoregressive Modeling, NeurIPS 2024", describe_var_config,
     convert_var_files},
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
                                                 const nlohmann::json& config,
                                                 const std::filesystem::path& folder) {
  std::vector<std::string_view> names;
  for (const FamilyRow& row : kFamilies) {
    if (row.name == family) return row.describe(config, folder);
    names.push_back(row.name);
  }
  fail(ErrorCode::kUnsupported,
       "models: {} is of family '{}', which this version does not run; it runs {}", folder.string(),
       printable(family), fmt::join(names, ", "));
}

}  // namespace nextscale
