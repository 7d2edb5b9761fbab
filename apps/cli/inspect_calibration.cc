// SPDX-License-Identifier: Apache-2.0
#include "inspect_calibration.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "calibrate/calibration_file.h"
#include "core/error_format.h"
#include "policies/head_calibration.h"
#include "policies/registry.h"

namespace nextscale::cli {
namespace {

constexpr size_t kShownBytes = 200;

// Per step, what all heads give to earlier scales in the mean.
std::vector<double> history_shares(const Calibration& values) {
  std::vector<double> shares;
  if (values.mass.empty()) return shares;
  const auto heads = static_cast<double>(values.layers * values.kv_heads);
  for (int step = 0; step < values.num_steps(); ++step) {
    double current = 0;
    for (int64_t layer = 0; layer < values.layers; ++layer) {
      for (int64_t head = 0; head < values.kv_heads; ++head) {
        current += values.mass_of({.layer = layer, .head = head}, step, step);
      }
    }
    shares.push_back(1.0 - current / heads);
  }
  return shares;
}

void print_source(const SampleSource& source) {
  fmt::print("measured on {} sample{} of {} {}: {}\n", source.samples,
             source.samples == 1 ? "" : "s", source.conditionings.size(), source.kind,
             printable(fmt::format("{}", fmt::join(source.conditionings, ", ")), kShownBytes));
  std::vector<std::string> settings;
  for (const auto& [name, value] : source.settings.items()) {
    settings.push_back(fmt::format("{} {}", printable(name), printable(value.dump())));
  }
  fmt::print("settings: {}\n", fmt::join(settings, ", "));
}

void print_text(const std::filesystem::path& path, const CalibrationFile& file) {
  const CalibrationHeader& header = file.header;
  const Geometry& geometry = header.geometry;
  fmt::print("calibration {}, made by {}\nof model {} ({})\n", path.string(),
             printable(header.tool), printable(header.model_id), printable(header.family));
  fmt::print("{} layers of {} key/value heads, {} scales, {} tokens\n", geometry.layers,
             geometry.kv_heads, geometry.num_scales(),
             geometry.tokens_through(geometry.num_scales() - 1));
  if (header.source) {
    print_source(*header.source);
    fmt::print("share of the history in the attention, by step: {:.3f}\n",
               fmt::join(history_shares(file.values), " "));
  } else {
    fmt::print("nothing was measured\n");
  }
  for (const CalibrationImport& each : header.imports) {
    fmt::print("imported for {}: {} (sha256 {})\n", printable(each.method), printable(each.file),
               printable(each.sha256));
  }
  fmt::print("sha256 {}\n", file.sha256);
}

// [layers][kv_heads]
template <typename Value>
nlohmann::json by_head(const Geometry& geometry, const Value& value) {
  nlohmann::json layers = nlohmann::json::array();
  for (int64_t layer = 0; layer < geometry.layers; ++layer) {
    nlohmann::json& heads = layers.emplace_back(nlohmann::json::array());
    for (int64_t head = 0; head < geometry.kv_heads; ++head) heads.push_back(value(layer, head));
  }
  return layers;
}

// What a policy makes of the calibration: classes of heads, tokens cached after each step.
void add_policy(const CalibrationFile& file, const std::string& kv, nlohmann::json& result) {
  const Geometry& geometry = file.header.geometry;
  const PolicySpec spec = parse_policy_spec(kv);
  const Schedule schedule =
      make_policy(spec, {.geometry = geometry, .calibration = &file.values})->schedule(geometry);
  result["kv"] = kv;
  for (int step = 0; step < geometry.num_scales(); ++step) {
    result["cached"].push_back(by_head(
        geometry, [&](int64_t layer, int64_t head) { return schedule.cached(step, layer, head); }));
  }
  if (!file.header.source) return;
  const HeadCalibration heads = head_calibration(file.values, alpha_setting(spec));
  result["contextual"] = by_head(geometry, [&](int64_t layer, int64_t head) {
    return heads.class_of(geometry, layer, head) == HeadClass::kContextual;
  });
}

}  // namespace

void inspect_calibration(const ModelInspection& options) {
  const CalibrationFile file = read_calibration_file(options.path);
  if (!options.json) return print_text(options.path, file);
  nlohmann::json result = to_json(file.header);
  result["history_shares"] = history_shares(file.values);
  result["sha256"] = file.sha256;
  if (file.header.source) {
    result["variance"] = by_head(file.header.geometry, [&](int64_t layer, int64_t head) {
      return file.values.sigma[static_cast<size_t>(layer * file.header.geometry.kv_heads + head)];
    });
  }
  if (!options.kv.empty()) add_policy(file, options.kv, result);
  fmt::print("{}\n", result.dump(2));
}

}  // namespace nextscale::cli
