// SPDX-License-Identifier: Apache-2.0
#include "policies/heavy_hitters.h"

#include <algorithm>

#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {

Needs HeavyHitters::needs() const {
  return {.queries = observed == 0 ? ObservedQueries::kAll : ObservedQueries::kUniform,
          .num_queries = observed,
          .scale_ids = protection.any(),
          .accumulated = true,
          .selects = true};
}

void HeavyHitters::select(const HeadStatistics& head, Selection& selection) const {
  std::ranges::copy(head.accumulated, selection.score.begin());
  const auto heavy = static_cast<int64_t>(heavy_ratio * static_cast<double>(head.num_attend));
  const int64_t recent = head.num_attend - heavy;
  attend_top_then_rest(protection, head, heavy, head.num_candidates - recent, selection);
  keep_attended(head, selection);
}

HeavyHitters heavy_hitters_setting(const PolicySpec& spec, const PolicyContext& context) {
  HeavyHitters result;
  result.protection = protect_setting(spec, context);
  result.heavy_ratio = number_setting(spec, "heavy_ratio", result.heavy_ratio, 0.0, 1.0);
  const auto observed = spec.settings.find("obs");
  if (observed != spec.settings.end() && observed->second != "all") {
    result.observed = count_setting(spec, "obs", 0, 1);
  }
  return result;
}

}  // namespace nextscale
