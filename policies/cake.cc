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
// defaults; tau1, tau2 (1; the original tunes them per model); alloc (lagged; official: the same
// with the rounding of the official code; uniform); protect,
// scales kept before all others (none).
#include "policies/cake.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "policies/budget.h"
#include "policies/protection.h"
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

enum class CakeAllocation { kLagged, kOfficial, kUniform };

struct CakeSettings {
  Budget budget;
  int64_t window = kDefaultWindow;
  int64_t kernel = kDefaultKernel;
  double gamma = kDefaultGamma;
  double tau1 = 1.0;
  double tau2 = 1.0;
  CakeAllocation allocation = CakeAllocation::kLagged;
  Protection protection;
};

class Cake : public Policy {
 public:
  explicit Cake(const CakeSettings& settings) : settings_(settings) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kLast,
            .num_queries = settings_.window,
            .column_variances = true,
            .column_entropies = shares(),
            .scale_ids = settings_.protection.any(),
            .layer_budgets = shares(),
            .selects = true};
  }

  Schedule schedule(const Geometry& geometry) const override {
    const int64_t budget = settings_.budget.of(geometry.tokens_through(geometry.num_scales() - 1));
    return shares() ? shared_schedule(geometry, budget, kFloor)
                    : coupled_schedule(geometry, budget);
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    const int64_t window = head.num_queries;
    if (head.num_attend <= window) {
      attend_last(settings_.protection, head, selection);
    } else {
      score(head, selection);
      attend_top_then_rest(settings_.protection, head, head.num_attend - window,
                           head.num_candidates - window, selection);
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
    std::vector<double> preferences;
    for (const LayerStatistics& layer : previous) preferences.push_back(preference(layer));
    const int64_t total = static_cast<int64_t>(candidates.size()) * (budget - window);
    if (settings_.allocation == CakeAllocation::kOfficial) {
      budgets = cake_official_budgets(preferences, total, std::ranges::min(candidates) - window);
    } else {
      std::vector<BudgetGroup> groups;
      for (size_t layer = 0; layer < candidates.size(); ++layer) {
        groups.push_back({.weight = preferences[layer], .capacity = candidates[layer] - window});
      }
      budgets = allocate(groups, total, kFloor);
    }
    for (int64_t& each : budgets) each += window;
    return budgets;
  }

 private:
  bool shares() const { return settings_.allocation != CakeAllocation::kUniform; }

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

// One token each in turn to the layers below the cap.
void hand_out(int64_t tokens, int64_t cap, std::vector<int64_t>* budgets) {
  bool has_room = true;
  while (tokens > 0 && has_room) {
    has_room = false;
    for (int64_t& budget : *budgets) {
      if (tokens == 0 || budget >= cap) continue;
      ++budget;
      --tokens;
      has_room = true;
    }
  }
}

}  // namespace

std::vector<int64_t> cake_official_budgets(std::span<const double> preferences, int64_t total,
                                           int64_t cap) {
  const double sum = std::accumulate(preferences.begin(), preferences.end(), 0.0);
  std::vector<int64_t> budgets;
  int64_t clipped = 0;
  int64_t rounded = total;
  for (const double preference : preferences) {
    const double share = sum > 0 ? preference / sum : 1.0 / static_cast<double>(preferences.size());
    const auto whole = static_cast<int64_t>(share * static_cast<double>(total));
    budgets.push_back(std::min(whole, cap));
    clipped += whole - budgets.back();
    rounded -= whole;
  }
  // In two rounds, because each begins with the first layer.
  hand_out(clipped, cap, &budgets);
  hand_out(rounded, cap, &budgets);
  return budgets;
}

std::unique_ptr<Policy> make_cake(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(
      spec, {"budget", "window", "kernel", "gamma", "tau1", "tau2", "alloc", "protect"});
  constexpr CakeAllocation kAllocations[] = {CakeAllocation::kLagged, CakeAllocation::kOfficial,
                                             CakeAllocation::kUniform};
  return std::make_unique<Cake>(CakeSettings{
      .budget = budget_setting(spec, "budget", context),
      .window = count_setting(spec, "window", kDefaultWindow, 1),
      .kernel = kernel_setting(spec, "kernel", kDefaultKernel),
      .gamma = number_setting(spec, "gamma", kDefaultGamma, 0.0, kMaxGamma),
      .tau1 = number_setting(spec, "tau1", 1.0, kSmallestTau, kLargestTau),
      .tau2 = number_setting(spec, "tau2", 1.0, kSmallestTau, kLargestTau),
      .allocation = kAllocations[word_setting(spec, "alloc", {"lagged", "official", "uniform"}, 0)],
      .protection = protect_setting(spec, context)});
}

}  // namespace nextscale
