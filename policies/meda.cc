// SPDX-License-Identifier: Apache-2.0
// MEDA (Wan et al., arXiv 2502.17599): LOOK-M with a budget per layer, in proportion to the softmax
// over layers of the mean entropy of their attention rows. Coupled.
//
// A step must know its budgets before it attends, so it uses the entropies of the step before
// (`lagged`); the first one is uniform. The official clamp of a layer's share is left out, so that
// the total stays exact (methods.md 9).
//
// Knobs: budget (30 %, as in HACK++ table I); heavy_ratio (0.5), obs (all) and merge (average,
// official) and protect as in LOOK-M; alloc (lagged, uniform).
#include "policies/meda.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "policies/budget.h"
#include "policies/heavy_hitters.h"
#include "policies/merge_setting.h"

namespace nextscale {
namespace {

// Every layer keeps at least one token.
constexpr int64_t kFloor = 1;

class Meda : public Policy {
 public:
  Meda(Budget budget, HeavyHitters hitters, Merge merge, bool lagged)
      : budget_(budget), hitters_(hitters), merge_(merge), lagged_(lagged) {}

  Needs needs() const override {
    Needs needs = hitters_.needs();
    needs.column_entropies = lagged_;
    needs.may_merge = true;
    needs.layer_budgets = lagged_;
    return needs;
  }

  Schedule schedule(const Geometry& geometry) const override {
    const int64_t budget = budget_.of(geometry.tokens_through(geometry.num_scales() - 1));
    return lagged_ ? shared_schedule(geometry, budget, kFloor) : coupled_schedule(geometry, budget);
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    hitters_.select(head, selection);
    selection.merge = merge_;
  }

  LayerStatistics layer_statistics(const HeadStatistics& head) const override {
    const double entropy =
        std::accumulate(head.column_entropies.begin(), head.column_entropies.end(), 0.0);
    return {entropy / static_cast<double>(head.num_queries), 0.0};
  }

  std::vector<int64_t> layer_budgets(std::span<const LayerStatistics> previous,
                                     std::span<const int64_t> candidates, int64_t /*num_current*/,
                                     int64_t sequence) const override {
    const int64_t budget = budget_.of(sequence);
    if (previous.empty()) return std::vector<int64_t>(candidates.size(), budget);
    std::vector<BudgetGroup> groups;
    for (size_t layer = 0; layer < candidates.size(); ++layer) {
      // softmax(E) without its denominator, which does not change proportions; the largest entropy
      // is taken off so that exp stays finite.
      groups.push_back({.weight = std::exp(previous[layer][0] - largest(previous)),
                        .capacity = candidates[layer]});
    }
    return allocate(groups, static_cast<int64_t>(groups.size()) * budget, kFloor);
  }

 private:
  static double largest(std::span<const LayerStatistics> statistics) {
    return std::ranges::max(statistics, {}, [](const LayerStatistics& each) { return each[0]; })[0];
  }

  Budget budget_;
  HeavyHitters hitters_;
  Merge merge_;
  bool lagged_;
};

}  // namespace

std::unique_ptr<Policy> make_meda(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"budget", "heavy_ratio", "obs", "protect", "merge", "alloc"});
  return std::make_unique<Meda>(budget_setting(spec, "budget", context),
                                heavy_hitters_setting(spec, context),
                                merge_setting(spec, Merge::kAverage),
                                word_setting(spec, "alloc", {"lagged", "uniform"}, 0) == 0);
}

}  // namespace nextscale
