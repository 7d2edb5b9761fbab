// SPDX-License-Identifier: Apache-2.0
// Tokens and floating-point operations of self-attention, step by step, from what a policy says of
// itself: its schedule and its needs. Works on numbers alone; nothing is loaded. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/geometry.h"
#include "policies/policy.h"

namespace nextscale {

// Whose way of counting: this engine's, or that of HACK++ and the papers before it (methods.md 15).
enum class Accounting { kEngine, kPaper };

struct CostInputs {
  const Geometry& geometry;
  const Policy& policy;
  int64_t sequences = 0;  // of the batch, guidance rows included
  Accounting accounting = Accounting::kEngine;
  int64_t attended_prompt = 0;  // text keys beside the sequence, which every query attends
};

// One step in all layers, heads and sequences. A multiplication with its addition is two
// operations; softmax is not counted.
struct StepCost {
  Grid map;
  double attended = 0;          // keys per head, mean over layers and kv heads
  double cached = 0;            // tokens per head that stay after the step, likewise
  double attention_flops = 0;   // queries times keys, weights times values
  double projection_flops = 0;  // of queries, keys, values and output
  double scoring_flops = 0;     // of the statistics that choose tokens; merging is not counted
};

// Lengths that a generation has on average: the schedule, but for policies whose layers share one
// budget (and which schedule the most that each could get) equal shares.
Schedule expected_lengths(const Policy& policy, const Geometry& geometry);

std::vector<StepCost> step_costs(const CostInputs& inputs);

double total_attention_flops(const std::vector<StepCost>& steps);
double total_projection_flops(const std::vector<StepCost>& steps);
double total_scoring_flops(const std::vector<StepCost>& steps);

}  // namespace nextscale
