// SPDX-License-Identifier: Apache-2.0
// The part that H2O, LOOK-M and MEDA share: a score that adds up over the steps, its best tokens,
// and the most recent candidates.
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/protection.h"
#include "policies/spec.h"

namespace nextscale {

struct HeavyHitters {
  double heavy_ratio = 0.5;  // share of the budget for heavy hitters; official: equal shares
  int64_t observed = 0;      // queries that vote, spread evenly; 0: all
  Protection protection;

  Needs needs() const;
  // Keeps floor(heavy_ratio * b) heavy hitters and fills up with the last candidates. Tokens of
  // early steps had more steps to collect: that bias is part of the method.
  void select(const HeadStatistics& head, Selection& selection) const;
};

// Reads heavy_ratio, obs (`all` or a number) and protect. Throws Error(kUsage).
HeavyHitters heavy_hitters_setting(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
