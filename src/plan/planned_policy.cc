// SPDX-License-Identifier: Apache-2.0
#include "plan/planned_policy.h"

#include <algorithm>

#include "policies/registry.h"

namespace nextscale {

PlannedPolicy make_planned_policy(const PolicySpec& spec, PolicyContext context) {
  if (context.calibration != nullptr) return {.policy = make_policy(spec, context)};
  const Calibration flat = flat_calibration(context.geometry);
  context.calibration = &flat;
  const bool is_calibrated = std::ranges::any_of(policy_table(), [&](const PolicyRow& row) {
    return row.name == spec.name && row.calibration == CalibrationUse::kRequired;
  });
  return {.policy = make_policy(spec, context), .assumes_equal_heads = is_calibrated};
}

}  // namespace nextscale
