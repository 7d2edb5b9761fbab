// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// Tokens per head of the two classes.
struct HackBudgets {
  int64_t contextual = 0;
  int64_t structural = 0;
};

// Shares heads * budget slots so that contextual heads get `beta` of the budget each.
HackBudgets hack_budgets(int64_t contextual_heads, int64_t structural_heads, int64_t budget,
                         double beta);

// `hack`: budget, alpha, beta, nobs, kernel, first, merge, protect. Throws Error(kUsage) for other
// settings or bad values, Error(kMismatch) if the calibration was not measured.
std::unique_ptr<Policy> make_hack(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
