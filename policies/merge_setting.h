// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/policy.h"
#include "policies/settings.h"

namespace nextscale {

// The setting `merge`: average, pivot or weighted. Throws Error(kUsage).
inline Merge merge_setting(const PolicySpec& spec, Merge fallback) {
  constexpr Merge kModes[] = {Merge::kAverage, Merge::kPivot, Merge::kWeighted};
  const auto index = static_cast<size_t>(fallback) - static_cast<size_t>(Merge::kAverage);
  return kModes[word_setting(spec, "merge", {"average", "pivot", "weighted"}, index)];
}

}  // namespace nextscale
