// SPDX-License-Identifier: Apache-2.0
// StreamingLLM (Xiao et al., arXiv 2309.17453): the first tokens, which collect attention whatever
// they hold, and the most recent ones. Coupled: what is attended becomes the cache. Positions are
// baked into the cached keys, so nothing is re-indexed.
//
// Knobs: budget (30 %, as in HACK++ table I); sink, the first tokens kept (4, start_size of the
// official code).
#include "policies/streaming.h"

#include <algorithm>
#include <numeric>

#include "policies/budget.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr int64_t kDefaultSink = 4;

class Streaming : public Policy {
 public:
  Streaming(Budget budget, int64_t sink) : budget_(budget), sink_(sink) {}

  Needs needs() const override { return {.selects = true}; }

  Schedule schedule(const Geometry& geometry) const override {
    return coupled_schedule(geometry,
                            budget_.of(geometry.tokens_through(geometry.num_scales() - 1)));
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    const int64_t sink = std::min(sink_, head.num_attend);
    const int64_t skipped = head.num_candidates - head.num_attend;
    const auto attend = selection.attend.first(static_cast<size_t>(head.num_attend));
    std::iota(attend.begin(), attend.begin() + sink, 0);
    std::iota(attend.begin() + sink, attend.end(), static_cast<int32_t>(sink + skipped));
    selection.num_attend = head.num_attend;
    keep_attended(head, selection);
  }

 private:
  Budget budget_;
  int64_t sink_;
};

}  // namespace

std::unique_ptr<Policy> make_streaming(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"budget", "sink"});
  return std::make_unique<Streaming>(budget_setting(spec, "budget", context),
                                     count_setting(spec, "sink", kDefaultSink, 0));
}

}  // namespace nextscale
