// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/budget.h"
#include "policies/head_calibration.h"
#include "policies/policy.h"

namespace nextscale {

// Knobs of HACK; where the defaults come from is said in hack.cc.
struct HackSettings {
  Budget budget = kDefaultBudget;
  double beta = 1.0 / 3;
  int64_t observed = 32;
  int64_t kernel = 1;
  int64_t first_scales = 2;
  Merge final_merge = Merge::kPivot;
};

// Tokens per head of the two classes.
struct HackBudgets {
  int64_t contextual = 0;
  int64_t structural = 0;
};

// Shares heads * budget slots so that contextual heads get `beta` of the budget each.
HackBudgets hack_budgets(int64_t contextual_heads, int64_t structural_heads, int64_t budget,
                         double beta);

// The calibration must be of this geometry.
std::unique_ptr<Policy> make_hack(const HackSettings& settings, const Geometry& geometry,
                                  HeadCalibration calibration);

}  // namespace nextscale
