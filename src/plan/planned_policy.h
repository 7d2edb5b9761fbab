// SPDX-License-Identifier: Apache-2.0
// A policy as far as its lengths go: without a calibration at hand, one that relies on everything
// alike stands in for it.
#pragma once

#include <memory>

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

struct PlannedPolicy {
  std::unique_ptr<Policy> policy;
  // The method is calibrated and no calibration was given: its budgets are equal shares. Unequal
  // ones of the same mean attend no more.
  bool assumes_equal_heads = false;
};

// Throws Error as make_policy() does, but never for want of a calibration.
PlannedPolicy make_planned_policy(const PolicySpec& spec, PolicyContext context);

}  // namespace nextscale
