// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "policies/calibration.h"
#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// All tokens of one source scale in one head: what is removed at once.
struct HeatAtom {
  int source = 0;
  LayerHead at;

  bool operator==(const HeatAtom&) const = default;
};

// What the cache does not hold at which step.
class HeatPlan {
 public:
  explicit HeatPlan(const Geometry& geometry);

  // Whether the atom is gone before step `step` starts.
  bool removes(int step, const HeatAtom& atom) const { return removed_[index(step, atom)] != 0; }
  void remove(int step, const HeatAtom& atom) { removed_[index(step, atom)] = 1; }

  // Heads that lose each prunable scale before a step, by the rule without growth. [steps]
  std::vector<int64_t> counts;
  // Atoms removed before a step that only a later layer's growth asks for, by that layer. [steps]
  std::vector<std::map<int64_t, std::vector<HeatAtom>>> early;

 private:
  size_t index(int step, const HeatAtom& atom) const {
    const int64_t source = static_cast<int64_t>(step) * steps_ + atom.source;
    return static_cast<size_t>((source * layers_ + atom.at.layer) * heads_ + atom.at.head);
  }

  int64_t steps_;
  int64_t layers_;
  int64_t heads_;
  std::vector<uint8_t> removed_;  // [steps, scales, layers, kv_heads]
};

struct HeatBudget {
  double tokens = 0;  // per head, mean over the model
  int sink = 0;       // scales from the first that are never removed
};

// x_t of methods.md 13.2: heads that lose each prunable scale before step t. [steps]
std::vector<int64_t> heat_counts(std::span<const Grid> scales, const HeatBudget& budget,
                                 int64_t slots);

// S-CAS: [layers, kv_heads, scales] attention that later steps give to a source scale, mean over
// the steps; 0 for the last scale. Needs mass.
std::vector<double> later_attention(const Calibration& calibration);

// [scales] heads by (S-CAS, head, layer), least needed first, or as published; empty for scales
// below `sink` and the last. Throws Error(kMismatch) if a scale was neither measured nor published.
std::vector<std::vector<LayerHead>> heat_orders(const Calibration& calibration, int sink);

// Which atoms go when, so that the model never holds more than its budget while a step runs and
// its layers store their new tokens one after the other (methods.md 13.3). Throws Error(kUsage) if
// the budget cannot be met.
HeatPlan heat_plan(const Geometry& geometry, const std::vector<std::vector<LayerHead>>& orders,
                   const HeatBudget& budget);

// `heatkv`: cache (or budget), of, sink. Throws Error(kUsage) for other settings or bad values.
std::unique_ptr<Policy> make_heatkv(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
