// SPDX-License-Identifier: Apache-2.0
// What fits into so much memory: the largest batch, or the mildest budget, or by how much nothing
// does. For models whose plans are incomplete the answer counts the known parts only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "plan/run_plan.h"

namespace nextscale {

// The largest budget that fits, as it is written for --kv.
struct MildestBudget {
  std::string spec;
  int64_t images = 1;              // at a time
  bool needs_calibration = false;  // and none was given
};

struct FitAnswer {
  bool fits = false;                     // the question as it was asked
  int64_t largest_batch = 0;             // with the policy as it was asked; 0: not one image
  std::optional<MildestBudget> mildest;  // where the question does not fit
  uint64_t missing_bytes = 0;            // where nothing fits: what the smallest run lacks
};

// Throws Error as RunPlanner::plan() does for the question itself.
FitAnswer what_fits(const RunPlanner& planner, const RunQuestion& question, uint64_t limit);

// `name:key=value,…`, settings in the order of their names.
std::string to_text(const PolicySpec& spec);

}  // namespace nextscale
