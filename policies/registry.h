// SPDX-License-Identifier: Apache-2.0
// The table of compression methods, and the way from a spec to a policy.
#pragma once

#include <span>
#include <string_view>

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// Whether a method is made from what `nextscale calibrate` measures.
enum class CalibrationUse { kNone, kRequired };

struct PolicyRow {
  std::string_view name;
  std::string_view summary;
  std::string_view citation;
  CalibrationUse calibration;
  std::unique_ptr<Policy> (*make)(const PolicySpec&, const PolicyContext&);
};

std::span<const PolicyRow> policy_table();

// Throws Error(kUsage) with the nearest names if there is no such policy, if it refuses a setting
// or if it needs a calibration and the context has none; Error(kMismatch) if the calibration is of
// another geometry.
std::unique_ptr<Policy> make_policy(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
