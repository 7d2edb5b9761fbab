// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policies/calibration.h"
#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// [layers, steps] ASI, normalised over the layers of each step; 0 at step 0. Needs asi.
std::vector<double> asi_z_scores(const Calibration& calibration);

// [steps, layers] 1 for the `count` (layer, step) pairs of smallest z-score, ties by (layer, step):
// layers that look at the whole history, and so need it (methods.md 12.1). Needs asi.
std::vector<uint8_t> scalekv_drafters(const Calibration& calibration, int64_t count);

struct ScalekvBudgets {
  int64_t uniform = 0;  // mean tokens per head over the layers
  int64_t base = 0;     // up to here, everything is kept
  int64_t window = 0;   // the least that any layer gets
};

// [steps, layers] tokens per head kept after each step, from the roles at the step that reads them:
// drafters keep as nearly all as the mean and the other layers' window allow, the others share the
// rest evenly (the rule behind the published tables, methods.md 12.2). The whole sequence where
// nothing is dropped.
std::vector<int64_t> scalekv_budgets(const Geometry& geometry, const std::vector<uint8_t>& drafters,
                                     const ScalekvBudgets& budgets);

// Candidates that are kept whatever their score: the middles of a grid of patches over the current
// map, or the last `window` of them. Ascending, into the first elements of `out`; returns how many.
int64_t scalekv_window(const Grid& map, int64_t window, int64_t candidates, std::span<int32_t> out);

// `scalekv`: cache (or budget), base, drafters, window, score, pool, kernel, protect. Throws
// Error(kUsage) for other settings or bad values, Error(kMismatch) if the calibration has neither
// ASI nor published roles.
std::unique_ptr<Policy> make_scalekv(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
