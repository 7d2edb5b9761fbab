// SPDX-License-Identifier: Apache-2.0
#include "golden/method_case.h"

#include <fmt/ranges.h>

#include <cmath>
#include <map>

#include "core/error_format.h"

namespace nextscale::golden {
namespace {

// A parameter of the reference, in the words of --kv.
std::string setting_text(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> items;
  for (const auto& item : value) items.push_back(item.dump());
  return fmt::format("{}", fmt::join(items, "+"));
}

}  // namespace

Geometry geometry_of(const nlohmann::json& config) {
  Geometry geometry{.layers = config.at("L"),
                    .query_heads = config.at("H"),
                    .kv_heads = config.at("H"),
                    .head_dim = config.at("d"),
                    .scales = {}};
  for (const auto& size : config.at("sizes")) geometry.scales.push_back({size[0], size[1]});
  return geometry;
}

PolicySpec policy_spec(const GoldenCase& golden, const nlohmann::json& run) {
  const std::map<std::string, std::string> budgets{
      {"b", "budget"}, {"b_a", "attn"}, {"b_c", "cache"}, {"uniform", "cache"}, {"base", "base"}};
  const std::map<std::string, std::string> words{
      {"n_obs", "nobs"}, {"init_scales", "first"}, {"final_merge", "merge"}};
  PolicySpec spec{.name = run.at("method"), .settings = {}};
  for (const auto& [key, value] : run.at("params").items()) {
    if (key.starts_with("eta")) continue;
    if (const auto budget = budgets.find(key); budget != budgets.end()) {
      spec.settings[budget->second] = fmt::format("{}tok", value.dump());
    } else if (spec.name == "heatkv" && key == "budget") {
      spec.settings["cache"] = fmt::format("{:.17g}%", 100 * value.get<double>());
      spec.settings["of"] = "history";
    } else if (const auto word = words.find(key); word != words.end()) {
      spec.settings[word->second] = setting_text(value);
    } else if (!(value.is_array() && value.empty())) {
      spec.settings[key] = setting_text(value);
    }
  }
  if (spec.name == "heatkv") spec.settings.emplace("sink", golden.config.at("heat_sink").dump());
  if (spec.name == "scalekv") {
    spec.settings.emplace("drafters", golden.config.at("n_drafter").dump());
  }
  return spec;
}

Calibration calibration_of(const GoldenCase& golden) {
  const Geometry geometry = geometry_of(golden.config);
  SafetensorsFile file(golden.folder / "expected_calibration.safetensors");
  const auto doubles = [&](const char* name) {
    const std::vector<float> values = read_values<float>(file, name);
    return std::vector<double>(values.begin(), values.end());
  };
  Calibration result;
  result.layers = geometry.layers;
  result.kv_heads = geometry.kv_heads;
  result.scales = geometry.scales;
  result.mass = doubles("mass");
  result.sigma = doubles("sigma");
  result.asi = doubles("asi");
  // The reference leaves the first step undefined.
  for (double& value : result.asi) value = std::isnan(value) ? 0.0 : value;
  return result;
}

}  // namespace nextscale::golden
