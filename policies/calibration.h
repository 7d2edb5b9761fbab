// SPDX-License-Identifier: Apache-2.0
// What calibration measured of a model's attention under the full cache, and published rankings
// where they were imported. Every calibrated policy derives what it needs from this; it knows
// nothing of files. Plain data; independent of batch, prompt, policy and budget.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

struct LayerHead {
  int64_t layer = 0;
  int64_t head = 0;  // kv head

  auto operator<=>(const LayerHead&) const = default;
};

struct Calibration {
  int64_t layers = 0;
  int64_t kv_heads = 0;
  std::vector<Grid> scales;  // the schedule that was measured

  // Measured. Empty in a calibration that holds imported results alone.
  //
  // [layers, kv_heads, steps, scales] attention that a step gives to all tokens of a source scale,
  // mean over samples and queries; 0 for scales after the step. Rows of a step add up to 1.
  std::vector<double> mass;
  // [layers, kv_heads] variance of the attention columns at the last step, summed over columns,
  // mean over samples (HACK++ Eq. 7).
  std::vector<double> sigma;
  // [layers, steps] attention selectivity index of ScaleKV; 0 at step 0, which has no history.
  std::vector<double> asi;

  // Published. Empty where nothing was imported.
  //
  // [scales] HeatKV: all heads of the model, the one that needs this source scale least first.
  // Empty for scales that are never removed.
  std::vector<std::vector<LayerHead>> removal_orders;
  // [steps, layers] ScaleKV: tokens per head that a layer may hold when this step starts; 0 where
  // nothing was published.
  std::vector<int64_t> layer_budgets;
  // [steps, layers] ScaleKV: 1 for layers that are drafters at this step.
  std::vector<uint8_t> drafters;

  int num_steps() const { return static_cast<int>(scales.size()); }
  double mass_of(const LayerHead& at, int step, int source) const {
    const auto steps = static_cast<int64_t>(scales.size());
    const int64_t list = at.layer * kv_heads + at.head;
    return mass[static_cast<size_t>((list * steps + step) * steps + source)];
  }
};

// Throws Error(kMismatch), naming what differs, if the calibration is not of this geometry or its
// arrays have other sizes than it says.
void require_calibration_of(const Calibration& calibration, const Geometry& geometry);

// Every token of every step, head and layer is relied on alike: what plans assume where there is no
// calibration at hand. Equal variances are told apart so that each layer has as many contextual
// heads as any other, give or take one.
Calibration flat_calibration(const Geometry& geometry);

}  // namespace nextscale
