// SPDX-License-Identifier: Apache-2.0
// What a run costs as the papers count it (methods.md 15.1): two guided sequences per picture, the
// last scale cached, GB of 2^30 bytes, TFLOPs of 10^12. What this engine takes is run_plan.h.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/attention_costs.h"
#include "plan/known_models.h"
#include "policies/calibration.h"
#include "policies/spec.h"

namespace nextscale {

struct PaperPlan {
  std::vector<StepCost> steps;
  double cached_tokens = 0;  // per head
  double kv_bytes = 0;
  bool assumes_equal_heads = false;  // see PlannedPolicy
};

// `calibration` may be null. Throws Error as make_policy() does.
PaperPlan plan_as_papers_do(const PaperModel& model, const PolicySpec& spec,
                            const Calibration* calibration, int64_t images);

}  // namespace nextscale
