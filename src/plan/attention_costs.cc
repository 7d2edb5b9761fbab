// SPDX-License-Identifier: Apache-2.0
#include "plan/attention_costs.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "policies/queries.h"

namespace nextscale {
namespace {

constexpr double kMultiplyAdd = 2;

// Keys and values of a query head are those of its group's kv head.
double query_width(const Geometry& geometry) {
  return static_cast<double>(geometry.query_heads * geometry.head_dim);
}

double kv_width(const Geometry& geometry) {
  return static_cast<double>(geometry.kv_heads * geometry.head_dim);
}

// Calls visit(layer, head) for all of them.
template <typename Visit>
void for_each_head(const Geometry& geometry, const Visit& visit) {
  for (int64_t layer = 0; layer < geometry.layers; ++layer) {
    for (int64_t head = 0; head < geometry.kv_heads; ++head) visit(layer, head);
  }
}

class CostModel {
 public:
  explicit CostModel(const CostInputs& inputs)
      : inputs_(inputs),
        geometry_(inputs.geometry),
        needs_(inputs.policy.needs()),
        lengths_(expected_lengths(inputs.policy, inputs.geometry)) {}

  std::vector<StepCost> steps() const {
    std::vector<StepCost> result;
    for (int step = 0; step < geometry_.num_scales(); ++step) result.push_back(cost(step));
    if (inputs_.accounting == Accounting::kPaper && is_coupled()) share_mean_budget(&result);
    for (StepCost& step : result) step.attention_flops = attention_flops(step);
    return result;
  }

 private:
  bool is_last(int step) const { return step + 1 == geometry_.num_scales(); }

  int64_t before(int step, int64_t layer, int64_t head) const {
    return step == 0 ? 0 : lengths_.cached(step - 1, layer, head);
  }

  // Without attention, which depends on all steps.
  StepCost cost(int step) const {
    StepCost result{.map = geometry_.scales[static_cast<size_t>(step)]};
    int64_t attended = 0;
    int64_t cached = 0;
    for_each_head(geometry_, [&](int64_t layer, int64_t head) {
      attended += lengths_.attended(step, layer, head);
      cached += lengths_.cached(step, layer, head);
      result.scoring_flops += scoring_flops(step, layer, head);
    });
    const auto heads = static_cast<double>(geometry_.layers * geometry_.kv_heads);
    result.attended = static_cast<double>(attended) / heads;
    result.cached = static_cast<double>(cached) / heads;
    const double widths = 2 * query_width(geometry_) + 2 * kv_width(geometry_);
    result.projection_flops = kMultiplyAdd * static_cast<double>(result.map.tokens()) *
                              query_width(geometry_) * widths *
                              static_cast<double>(geometry_.layers * inputs_.sequences);
    return result;
  }

  double attention_flops(const StepCost& step) const {
    constexpr double kProducts = 2;  // queries times keys, weights times values
    const double keys = step.attended + static_cast<double>(inputs_.attended_prompt);
    return kProducts * kMultiplyAdd * static_cast<double>(step.map.tokens()) * keys *
           query_width(geometry_) * static_cast<double>(geometry_.layers * inputs_.sequences);
  }

  // Whether tokens of a head are chosen at a step. The papers' own code also scores for a cache
  // that it no longer writes, after the last step (methods.md 15.3).
  bool chooses(int step, int64_t layer, int64_t head) const {
    const int64_t candidates = before(step, layer, head) + geometry_.tokens(step);
    if (lengths_.attended(step, layer, head) < candidates) return true;
    if (!is_last(step)) return lengths_.cached(step, layer, head) < candidates;
    return inputs_.accounting == Accounting::kPaper &&
           before(step, layer, head) < geometry_.tokens_through(step - 1);
  }

  double scoring_flops(int step, int64_t layer, int64_t head) const {
    const Needs needs = inputs_.policy.head_needs(layer, head);
    const bool chosen = chooses(step, layer, head);
    const auto candidates = static_cast<double>(before(step, layer, head) + geometry_.tokens(step));
    const double product = kMultiplyAdd * candidates * static_cast<double>(geometry_.head_dim) *
                           static_cast<double>(inputs_.sequences);
    double flops = 0;
    if (needs.attention() && (chosen || needs_.accumulated || needs_.layer_budgets)) {
      const Grid& map = geometry_.scales[static_cast<size_t>(step)];
      const int64_t group = geometry_.query_heads / geometry_.kv_heads;
      flops += product * static_cast<double>(num_observed(needs, map) * group);
    }
    const bool counts_norms = inputs_.accounting == Accounting::kEngine;
    if (needs.value_norms && chosen && counts_norms) flops += product;
    return flops;
  }

  // Whether the attended tokens are the cache: one selection for both.
  bool is_coupled() const {
    bool same = true;
    for (int step = 0; !is_last(step); ++step) {
      for_each_head(geometry_, [&](int64_t layer, int64_t head) {
        same = same && lengths_.attended(step, layer, head) == lengths_.cached(step, layer, head);
      });
    }
    return same;
  }

  // The papers count a coupled method as min(T_k, B) with B its mean budget, even where classes of
  // heads reach budgets of their own at different steps (HACK).
  void share_mean_budget(std::vector<StepCost>* steps) const {
    const double budget = steps->back().attended;
    for (int step = 0; step < geometry_.num_scales(); ++step) {
      (*steps)[static_cast<size_t>(step)].attended =
          std::min(static_cast<double>(geometry_.tokens_through(step)), budget);
    }
  }

  const CostInputs& inputs_;
  const Geometry& geometry_;
  Needs needs_;
  Schedule lengths_;
};

double total(const std::vector<StepCost>& steps, double StepCost::*part) {
  return std::transform_reduce(steps.begin(), steps.end(), 0.0, std::plus<>(),
                               [part](const StepCost& step) { return step.*part; });
}

}  // namespace

Schedule expected_lengths(const Policy& policy, const Geometry& geometry) {
  Schedule lengths = policy.schedule(geometry);
  if (!policy.needs().layer_budgets) return lengths;
  const int last = geometry.num_scales() - 1;
  std::vector<int64_t> cached(static_cast<size_t>(geometry.layers));
  for (int step = 0; step <= last; ++step) {
    std::vector<int64_t> candidates = cached;
    for (int64_t& layer : candidates) layer += geometry.tokens(step);
    const std::vector<int64_t> budgets =
        policy.layer_budgets({}, candidates, geometry.tokens(step), geometry.tokens_through(last));
    for (size_t layer = 0; layer < cached.size(); ++layer) {
      cached[layer] = std::min(budgets[layer], candidates[layer]);
    }
    for_each_head(geometry, [&](int64_t layer, int64_t head) {
      const int64_t length = cached[static_cast<size_t>(layer)];
      lengths.attended(step, layer, head) = length;
      lengths.cached(step, layer, head) = step == last ? 0 : length;
    });
  }
  return lengths;
}

std::vector<StepCost> step_costs(const CostInputs& inputs) { return CostModel(inputs).steps(); }

double total_attention_flops(const std::vector<StepCost>& steps) {
  return total(steps, &StepCost::attention_flops);
}

double total_projection_flops(const std::vector<StepCost>& steps) {
  return total(steps, &StepCost::projection_flops);
}

double total_scoring_flops(const std::vector<StepCost>& steps) {
  return total(steps, &StepCost::scoring_flops);
}

}  // namespace nextscale
