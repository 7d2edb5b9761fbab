// SPDX-License-Identifier: Apache-2.0
// HACK++ (arXiv 2606.08302): heads are contextual, whose attention moves with the picture, or
// structural, whose attention follows position. Contextual heads keep what a spread sample of
// queries attends (Eq. 11, 12), structural heads what a calibrated prior over source scales times
// the value norm favours (Eq. 13-15). What is attended and what is cached are chosen separately
// (decoupled, Eq. 8-10), and the cache is shared by (layer, class) groups in proportion to their
// calibrated reliance on it, step by step (Eq. 18).
//
// Knobs: attention and cache budget (30 % and 10 %, the paper's main setting on Infinity); tau (1,
// the same); observed queries (32, the paper); kernel (5, as SnapKV, which the paper cites); floor
// (1 token per head, so that no history is empty); protected scales (none).
#include "policies/hackpp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "policies/selection.h"

namespace nextscale {
namespace {

// Tokens of one head of every group in one step, before anything is dropped.
std::vector<BudgetGroup> groups_of(std::span<const int64_t> sizes, std::span<const int64_t> cached,
                                   int64_t tokens) {
  std::vector<BudgetGroup> groups;
  for (size_t group = 0; group < sizes.size(); ++group) {
    groups.push_back({.weight = 0,
                      .heads = sizes[group],
                      .capacity = sizes[group] == 0 ? 0 : cached[group] + tokens});
  }
  return groups;
}

class Hackpp : public Policy {
 public:
  Hackpp(const HackppSettings& settings, const Geometry& geometry, HeadCalibration calibration)
      : settings_(settings), geometry_(geometry), calibration_(std::move(calibration)) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kUniform,
            .num_queries = settings_.observed,
            .value_norms = true,
            .scale_ids = true,
            .selects = true};
  }

  Needs head_needs(int64_t layer, int64_t head) const override {
    Needs result = needs();
    if (calibration_.class_of(geometry_, layer, head) == HeadClass::kContextual) {
      result.value_norms = false;
    } else {
      result.queries = ObservedQueries::kNone;
    }
    return result;
  }

  Schedule schedule(const Geometry& geometry) const override {
    const HackppPlan plan =
        hackpp_plan(geometry, calibration_.group_sizes(geometry), calibration_.reliance, settings_);
    Schedule result(geometry.num_scales(), geometry.layers, geometry.kv_heads);
    for (int step = 0; step < geometry.num_scales(); ++step) {
      for (int64_t layer = 0; layer < geometry.layers; ++layer) {
        for (int64_t head = 0; head < geometry.kv_heads; ++head) {
          const auto type = static_cast<int64_t>(calibration_.class_of(geometry, layer, head));
          const auto at =
              static_cast<size_t>((step * geometry.layers + layer) * kHeadClasses + type);
          result.attended(step, layer, head) = plan.attended[at];
          result.cached(step, layer, head) = plan.cached[at];
        }
      }
    }
    return result;
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    if (calibration_.class_of(geometry_, head.layer, head.head) == HeadClass::kContextual) {
      score_contextual(head, selection);
    } else {
      score_structural(head, selection);
    }
    protect(head, selection);
    top(selection.score, head.num_attend, selection.order, selection.attend);
    top(selection.score, head.num_keep, selection.order, selection.keep);
    selection.num_attend = head.num_attend;
    selection.num_keep = head.num_keep;
  }

 private:
  void score_contextual(const HeadStatistics& head, Selection& selection) const {
    for (size_t token = 0; token < selection.score.size(); ++token) {
      selection.pooled[token] = head.column_sums[token] / static_cast<float>(head.num_queries);
    }
    pool1d(selection.pooled, settings_.kernel, Pool::kMax, selection.score);
  }

  void score_structural(const HeadStatistics& head, Selection& selection) const {
    const int64_t steps = geometry_.num_scales();
    const int64_t list = head.layer * geometry_.kv_heads + head.head;
    const float* prior = calibration_.phi.data() + (list * steps + head.step) * steps;
    for (size_t token = 0; token < selection.score.size(); ++token) {
      selection.score[token] = prior[head.scale_ids[token]] * head.value_norms[token];
    }
  }

  void protect(const HeadStatistics& head, Selection& selection) const {
    for (const int scale : settings_.protected_scales) {
      for (size_t token = 0; token < selection.score.size(); ++token) {
        if (head.scale_ids[token] != scale) continue;
        selection.score[token] = std::numeric_limits<float>::infinity();
      }
    }
  }

  HackppSettings settings_;
  Geometry geometry_;
  HeadCalibration calibration_;
};

}  // namespace

HackppPlan hackpp_plan(const Geometry& geometry, std::span<const int64_t> group_sizes,
                       std::span<const float> reliance, const HackppSettings& settings) {
  const int steps = geometry.num_scales();
  const int64_t sequence = geometry.tokens_through(steps - 1);
  const int64_t slots = geometry.layers * geometry.kv_heads * settings.cache.of(sequence);
  HackppPlan plan;
  std::vector<int64_t> cached(group_sizes.size());
  for (int step = 0; step < steps; ++step) {
    std::vector<BudgetGroup> groups = groups_of(group_sizes, cached, geometry.tokens(step));
    for (size_t group = 0; group < groups.size(); ++group) {
      const float weight = reliance[group * static_cast<size_t>(steps) + static_cast<size_t>(step)];
      groups[group].weight = std::pow(static_cast<double>(weight), settings.tau);
      plan.attended.push_back(std::min(groups[group].capacity, settings.attention.of(sequence)));
    }
    // Gives everybody all there is while the slots last.
    cached = allocate(groups, slots, settings.floor);
    if (step + 1 == steps) std::ranges::fill(cached, 0);
    plan.cached.insert(plan.cached.end(), cached.begin(), cached.end());
  }
  return plan;
}

std::unique_ptr<Policy> make_hackpp(const HackppSettings& settings, const Geometry& geometry,
                                    HeadCalibration calibration) {
  return std::make_unique<Hackpp>(settings, geometry, std::move(calibration));
}

}  // namespace nextscale
