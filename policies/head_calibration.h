// SPDX-License-Identifier: Apache-2.0
// What HACK and HACK++ derive from a calibration: classes of heads, the prior over source scales
// and the reliance on the cache (methods.md 11.1, 11.2). Plain data; independent of batch, prompt
// and budget.
#pragma once

#include <cstdint>
#include <vector>

#include "policies/calibration.h"
#include "policies/context.h"
#include "policies/spec.h"

namespace nextscale {

enum class HeadClass { kContextual, kStructural };

inline constexpr int64_t kHeadClasses = 2;

struct HeadCalibration {
  std::vector<HeadClass> classes;  // [layers, kv_heads]
  // [layers, kv_heads, steps, scales] attention of one token of a source scale (Eq. 13).
  std::vector<float> phi;
  // [layers, classes, steps] gamma-bar, on what is cached after a step (Eq. 17); 0 for a class
  // without heads, and at the last step.
  std::vector<double> reliance;

  HeadClass class_of(const Geometry& geometry, int64_t layer, int64_t head) const {
    return classes[static_cast<size_t>(layer * geometry.kv_heads + head)];
  }
  // Heads per (layer, class): the groups that get equal lengths. [layers, classes]
  std::vector<int64_t> group_sizes(const Geometry& geometry) const;
};

// The heads whose attention columns vary least at the last step are contextual: alpha of all heads
// of the model, ties by (layer, head). Needs sigma.
std::vector<HeadClass> head_classes(const Calibration& calibration, double alpha);

// Needs mass and sigma. 0 <= alpha <= 1.
HeadCalibration head_calibration(const Calibration& calibration, double alpha);

// [layers, kv_heads, steps] gamma (Eq. 16): how much the later steps rely on one cached token of
// the whole history. Needs mass.
std::vector<double> history_reliance(const Calibration& calibration);

// The setting `alpha`: the share of contextual heads. The paper uses 0.15 to 0.35 depending on the
// model (methods.md 1.5); the default is that of Infinity-2B and HART. Throws Error(kUsage).
double alpha_setting(const PolicySpec& spec);

// Throws Error(kMismatch) if the calibration holds imported results alone, which `policy` cannot be
// made from.
void require_measured(const PolicyContext& context, std::string_view policy);

}  // namespace nextscale
