// SPDX-License-Identifier: Apache-2.0
// SnapKV (Li et al., arXiv 2404.14469): a window of the last queries votes; their attention, summed
// and smoothed by 1-D pooling, picks the tokens before the window, and the window stays. Coupled.
// A scale is bidirectional, so the window is not masked as in a language model; it is the bottom of
// the current map.
//
// Knobs: budget (30 %, as in HACK++ table I); window (32), kernel (5), pool (avg; max): defaults of
// the official package; protect, scales kept before all others (none).
#include "policies/snapkv.h"

#include <algorithm>

#include "policies/budget.h"
#include "policies/protection.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr int64_t kDefaultWindow = 32;
constexpr int64_t kDefaultKernel = 5;

struct SnapkvSettings {
  Budget budget;
  int64_t window = kDefaultWindow;
  int64_t kernel = kDefaultKernel;
  Pool pool = Pool::kAverage;
  Protection protection;
};

class Snapkv : public Policy {
 public:
  explicit Snapkv(const SnapkvSettings& settings) : settings_(settings) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kLast,
            .num_queries = settings_.window,
            .scale_ids = settings_.protection.any(),
            .selects = true};
  }

  Schedule schedule(const Geometry& geometry) const override {
    return coupled_schedule(
        geometry, settings_.budget.of(geometry.tokens_through(geometry.num_scales() - 1)));
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    const int64_t window = head.num_queries;
    if (head.num_attend <= window) {
      attend_last(settings_.protection, head, selection);
    } else {
      const auto before = static_cast<size_t>(head.num_candidates - window);
      pool1d(head.column_sums.first(before), settings_.kernel, settings_.pool, selection.score);
      attend_top_then_rest(settings_.protection, head, head.num_attend - window,
                           head.num_candidates - window, selection);
    }
    keep_attended(head, selection);
  }

 private:
  SnapkvSettings settings_;
};

}  // namespace

std::unique_ptr<Policy> make_snapkv(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"budget", "window", "kernel", "pool", "protect"});
  return std::make_unique<Snapkv>(SnapkvSettings{
      .budget = budget_setting(spec, "budget", context),
      .window = count_setting(spec, "window", kDefaultWindow, 1),
      .kernel = kernel_setting(spec, "kernel", kDefaultKernel),
      .pool = word_setting(spec, "pool", {"avg", "max"}, 0) == 0 ? Pool::kAverage : Pool::kMax,
      .protection = protect_setting(spec, context)});
}

}  // namespace nextscale
