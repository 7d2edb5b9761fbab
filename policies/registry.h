// SPDX-License-Identifier: Apache-2.0
// The table of compression methods, and the way from a spec to a policy.
#pragma once

#include <span>
#include <string_view>

#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

struct PolicyRow {
  std::string_view name;
  std::string_view summary;
  std::string_view citation;
  std::unique_ptr<Policy> (*make)(const PolicySpec&);
};

std::span<const PolicyRow> policy_table();

// Throws Error(kUsage) with the nearest names if there is no such policy, or if it refuses a
// setting.
std::unique_ptr<Policy> make_policy(const PolicySpec& spec);

}  // namespace nextscale
