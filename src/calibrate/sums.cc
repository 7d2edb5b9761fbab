// SPDX-License-Identifier: Apache-2.0
#include "calibrate/sums.h"

#include <utility>

#include "core/error_format.h"

namespace nextscale {
namespace {

// ScaleKV: attention that stays inside the current scale, times that of the strongest history.
std::vector<double> selectivity(const Calibration& calibration, std::vector<double> history_top) {
  const int steps = calibration.num_steps();
  std::vector<double> asi = std::move(history_top);
  for (int64_t layer = 0; layer < calibration.layers; ++layer) {
    for (int step = 0; step < steps; ++step) {
      double current = 0;
      for (int64_t head = 0; head < calibration.kv_heads; ++head) {
        current += calibration.mass_of({.layer = layer, .head = head}, step, step);
      }
      asi[static_cast<size_t>(layer * steps + step)] *=
          current / static_cast<double>(calibration.kv_heads);
    }
  }
  return asi;
}

}  // namespace

void CalibrationSums::add(const CalibrationSums& other) {
  sequences += other.sequences;
  for (int part = 0; part < kParts; ++part) {
    const std::span<double> to = parts(part);
    const std::span<const double> from = other.parts(part);
    for (size_t at = 0; at < to.size(); ++at) to[at] += from[at];
  }
}

CalibrationSums empty_sums(const Geometry& geometry) {
  const auto lists = static_cast<size_t>(geometry.layers * geometry.kv_heads);
  const auto steps = static_cast<size_t>(geometry.num_scales());
  return {.sequences = 0,
          .mass = std::vector<double>(lists * steps * steps),
          .sigma = std::vector<double>(lists),
          .history_top = std::vector<double>(static_cast<size_t>(geometry.layers) * steps)};
}

Calibration mean_of(const CalibrationSums& sums, const Geometry& geometry) {
  NEXTSCALE_ASSERT(sums.sequences > 0);
  CalibrationSums means = sums;
  for (int part = 0; part < CalibrationSums::kParts; ++part) {
    for (double& value : means.parts(part)) value /= static_cast<double>(sums.sequences);
  }
  Calibration result;
  result.layers = geometry.layers;
  result.kv_heads = geometry.kv_heads;
  result.scales = geometry.scales;
  result.mass = std::move(means.mass);
  result.sigma = std::move(means.sigma);
  result.asi = selectivity(result, std::move(means.history_top));
  return result;
}

}  // namespace nextscale
