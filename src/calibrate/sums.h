// SPDX-License-Identifier: Apache-2.0
// Sums of what calibration measures, over sequences. Sequences are added one after the other, so a
// sum depends on their order alone: not on batch, threads or where a run was interrupted. Plain
// data.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/geometry.h"
#include "policies/calibration.h"

namespace nextscale {

struct CalibrationSums {
  int64_t sequences = 0;
  std::vector<double> mass;   // [layers, kv_heads, steps, scales], see Calibration
  std::vector<double> sigma;  // [layers, kv_heads]
  // [layers, steps] what a query gives to the history tokens that it attends most, mean over
  // queries and heads: one factor of the attention selectivity index.
  std::vector<double> history_top;

  // All three, in this order.
  std::span<double> parts(int part) {
    return part == 0 ? std::span(mass) : part == 1 ? std::span(sigma) : std::span(history_top);
  }
  std::span<const double> parts(int part) const {
    return const_cast<CalibrationSums*>(this)->parts(part);
  }
  static constexpr int kParts = 3;

  void add(const CalibrationSums& other);

  bool operator==(const CalibrationSums&) const = default;
};

// No sequences yet.
CalibrationSums empty_sums(const Geometry& geometry);

// Means over the sequences, at least one; the selectivity index is the product of the means of its
// two factors.
Calibration mean_of(const CalibrationSums& sums, const Geometry& geometry);

}  // namespace nextscale
