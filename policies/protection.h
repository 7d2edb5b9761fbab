// SPDX-License-Identifier: Apache-2.0
// Source scales whose tokens are kept before all others (methods.md 1.3): the setting `protect`.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

class Protection {
 public:
  Protection() = default;
  explicit Protection(const std::vector<int64_t>& scales);

  // Source scales are needed, and asked about, only then.
  bool any() const { return !covered_.empty(); }
  bool covers(uint8_t scale) const { return scale < covered_.size() && covered_[scale] != 0; }
  // Gives the protected ones among the first score.size() candidates the highest score there is.
  void raise(const HeadStatistics& head, std::span<float> score) const;

 private:
  std::vector<uint8_t> covered_;  // by scale; empty if there is none
};

// `protect=0+2`: scale 0 and scale 2; none by default. Throws Error(kUsage) for scales that the
// model does not have.
Protection protect_setting(const PolicySpec& spec, const PolicyContext& context);

// The best n of the first `num_scored` candidates by selection.score, then all candidates from
// there on: the shape of every method that always keeps the newest. Where there are more protected
// candidates than n, the oldest of the newest make room for them. Writes `attend`.
void attend_top_then_rest(const Protection& protection, const HeadStatistics& head, int64_t n,
                          int64_t num_scored, Selection& selection);

// The last candidates, as many as are wanted, after the protected ones. Writes `attend`.
void attend_last(const Protection& protection, const HeadStatistics& head, Selection& selection);

}  // namespace nextscale
