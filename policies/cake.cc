// SPDX-License-Identifier: Apache-2.0
// CAKE (Qin et al., arXiv 2503.12491): SnapKV's window, with tokens scored by the mean of their
// attention plus gamma times its variance over the window, and a budget per layer in proportion to
// E^(1/tau1) * V^(1/tau2), the entropy and the variance of the window's attention. Coupled.
//
// The original shares the budget after one prefill. A step of a next-scale model must know its
// budgets before it attends, so it uses the statistics of the step before (`lagged`); the first one
// is uniform (methods.md 7).
//
// Knobs: budget (30 %, as in HACK++ table I); window (32), kernel (5), gamma (200): official
// defaults; tau1, tau2 (1; the original tunes them per model); alloc (lagged, uniform).
#include "policies/cake.h"

#include <algorithm>
#include <cmath>

#include "policies/budget.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr int64_t kDefaultWindow = 32;
constexpr int64_t kDefaultKernel = 5;
constexpr double kDefaultGamma = 200.0;
constexpr double kMaxGamma = 1e9;
constexpr double kSmallestTau = 1e-3;
constexpr double kLargestTau = 1e3;

// Every layer keeps at least one token beside the window.
constexpr int64_t kFloor = 1;

struct CakeSettings {
  Budget budget;
  int64_t window = kDefaultWindow;
  int64_t kernel = kDefaultKernel;
  double gamma = kDefaultGamma;
  double tau1 = 1.0;
  double tau2 = 1.0;
  bool lagged = true;
};

class Cake : public Policy {
 public:
  explicit Cake(const CakeSettings& settings) : settings_(settings) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kLast,
            .num_queries = settings_.window,
            .layer_budgets = settings_.lagged,
            .selects = true};
  }

  Schedule schedule(const Geometry& geometry) const override {
    const int64_t budget = settings_.budget.of(geometry.tokens_through(geometry.num_scales() - 1));
    return settings_.lagged ? shared_schedule(geometry, budget, kFloor)
                            : coupled_schedule(geometry, budget);
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    const int64_t window = head.num_queries;
    if (head.num_attend <= window) {
      attend_last(selection, head.num_attend, head.num_candidates);
    } else {
      score(head, selection);
      attend_top_then_rest(selection, head.num_attend - window, head.num_candidates - window,
                           head.num_candidates);
    }
    keep_attended(head, selection);
  }

  // The window is not part of the sums.
  LayerStatistics layer_statistics(const HeadStatistics& head) const override {
    LayerStatistics result{};
    for (int64_t token = 0; token < head.num_candidates - head.num_queries; ++token) {
      result[0] += static_cast<double>(head.column_entropies[static_cast<size_t>(token)]);
      result[1] += static_cast<double>(head.column_variances[static_cast<size_t>(token)]);
    }
    return result;
  }

  std::vector<int64_t> layer_budgets(std::span<const LayerStatistics> previous,
                                     std::span<const int64_t> candidates, int64_t num_current,
                                     int64_t sequence) const override {
    const int64_t budget = settings_.budget.of(sequence);
    const int64_t window = std::min(settings_.window, num_current);
    std::vector<int64_t> budgets(candidates.size(), budget);
    if (previous.empty() || budget <= window) return budgets;
    std::vector<BudgetGroup> groups;
    for (size_t layer = 0; layer < candidates.size(); ++layer) {
      groups.push_back(
          {.weight = preference(previous[layer]), .capacity = candidates[layer] - window});
    }
    budgets = allocate(groups, static_cast<int64_t>(groups.size()) * (budget - window), kFloor);
    for (int64_t& each : budgets) each += window;
    return budgets;
  }

 private:
  void score(const HeadStatistics& head, Selection& selection) const {
    const auto before = static_cast<size_t>(head.num_candidates - head.num_queries);
    const auto gamma = static_cast<float>(settings_.gamma);
    for (size_t token = 0; token < before; ++token) {
      selection.pooled[token] = head.column_sums[token] / static_cast<float>(head.num_queries) +
                                gamma * head.column_variances[token];
    }
    pool1d(selection.pooled.first(before), settings_.kernel, Pool::kAverage, selection.score);
  }

  double preference(const LayerStatistics& statistics) const {
    return std::pow(statistics[0], 1.0 / settings_.tau1) *
           std::pow(statistics[1], 1.0 / settings_.tau2);
  }

  CakeSettings settings_;
};

}  // namespace

std::unique_ptr<Policy> make_cake(const PolicySpec& spec, const PolicyContext& /*context*/) {
  require_known_settings(spec, {"budget", "window", "kernel", "gamma", "tau1", "tau2", "alloc"});
  return std::make_unique<Cake>(
      CakeSettings{.budget = budget_setting(spec, "budget"),
                   .window = count_setting(spec, "window", kDefaultWindow, 1),
                   .kernel = kernel_setting(spec, "kernel", kDefaultKernel),
                   .gamma = number_setting(spec, "gamma", kDefaultGamma, 0.0, kMaxGamma),
                   .tau1 = number_setting(spec, "tau1", 1.0, kSmallestTau, kLargestTau),
                   .tau2 = number_setting(spec, "tau2", 1.0, kSmallestTau, kLargestTau),
                   .lagged = word_setting(spec, "alloc", {"lagged", "uniform"}, 0) == 0});
}

}  // namespace nextscale
