// SPDX-License-Identifier: Apache-2.0
// A small calibration with different numbers everywhere, for tests of files and reports.
#pragma once

#include "calibrate/calibration_file.h"

namespace nextscale {

inline Geometry some_geometry() {
  return {.layers = 3,
          .query_heads = 4,
          .kv_heads = 2,
          .head_dim = 8,
          .scales = {{1, 1}, {2, 3}, {4, 4}, {6, 5}}};
}

// Heads rely on the history the more, the later they come.
inline CalibrationSums some_sums(const Geometry& geometry) {
  CalibrationSums sums = empty_sums(geometry);
  sums.sequences = 3;
  const int64_t steps = geometry.num_scales();
  for (int64_t list = 0; list < geometry.layers * geometry.kv_heads; ++list) {
    for (int64_t step = 0; step < steps; ++step) {
      const double history = step == 0 ? 0.0 : 0.1 + 0.1 * static_cast<double>(list);
      for (int64_t source = 0; source <= step; ++source) {
        const double share = source == step ? 1.0 - history : history / static_cast<double>(step);
        sums.mass[static_cast<size_t>((list * steps + step) * steps + source)] = 3.0 * share;
      }
    }
    sums.sigma[static_cast<size_t>(list)] = 3e-3 * static_cast<double>(1 + list * 5 % 6);
  }
  for (size_t at = 0; at < sums.history_top.size(); ++at) {
    sums.history_top[at] = 0.01 * static_cast<double>(at);
  }
  return sums;
}

inline CalibrationHeader some_header() {
  return {.tool = "nextscale 1.2.3",
          .model_id = "0123456789abcdef",
          .family = "var",
          .geometry = some_geometry(),
          .source = SampleSource{.kind = "classes",
                                 .conditionings = {"3", "7 <tabby> & \"co\""},
                                 .samples = 5,
                                 .asi_top = 32,
                                 .settings = {{"cfg", 1.5}, {"greedy", false}}},
          .imports = {}};
}

inline CalibrationFile some_calibration() {
  return {.header = some_header(),
          .values = mean_of(some_sums(some_geometry()), some_geometry()),
          .sha256 = ""};
}

}  // namespace nextscale
