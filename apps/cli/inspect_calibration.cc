// SPDX-License-Identifier: Apache-2.0
#include "inspect_calibration.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "calibrate/calibration_file.h"
#include "core/error_format.h"

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

}  // namespace

void inspect_calibration(const std::filesystem::path& path, InspectForm form) {
  const CalibrationFile file = read_calibration_file(path);
  if (form == InspectForm::kText) return print_text(path, file);
  nlohmann::json result = to_json(file.header);
  result["history_shares"] = history_shares(file.values);
  result["sha256"] = file.sha256;
  fmt::print("{}\n", result.dump(2));
}

}  // namespace nextscale::cli
