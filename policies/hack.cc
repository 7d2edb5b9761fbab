// SPDX-License-Identifier: Apache-2.0
// HACK (Qin et al., as recapitulated in HACK++, arXiv 2606.08302): contextual heads survive a small
// budget, structural heads do not, so the budget is split unevenly between the classes. Contextual
// heads keep what a spread sample of queries attends; structural heads keep the first scales and
// the current one, and fill up with the best of the middle. Coupled; at the last step, contextual
// heads merge what they evict into what they keep.
//
// Neither paper text nor code was available: the choices made are those of methods.md 10.
//
// Knobs: budget (30 %, HACK++ table I); alpha, the share of contextual heads (0.2, as hackpp);
// beta, a contextual head's share of the mean budget (1/3); nobs, observed queries (32, as HACK++);
// kernel (1: no pooling); first, scales kept by structural heads (2); merge at the last step
// (pivot, after LOOK-M; average, weighted, none); protect, scales kept before all others (none).
#include "policies/hack.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "policies/budget.h"
#include "policies/head_calibration.h"
#include "policies/protection.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

// Above every score, below what is protected.
constexpr float kFirst = std::numeric_limits<float>::max();
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct HackSettings {
  Budget budget = kDefaultBudget;
  double beta = 1.0 / 3;
  int64_t observed = 32;
  int64_t kernel = 1;
  int64_t first_scales = 2;
  Merge final_merge = Merge::kPivot;
  Protection protection = {};
};

class Hack : public Policy {
 public:
  Hack(const HackSettings& settings, const Geometry& geometry, HeadCalibration calibration)
      : settings_(settings), geometry_(geometry), calibration_(std::move(calibration)) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kUniform,
            .num_queries = settings_.observed,
            .scale_ids = true,
            .may_merge = true,
            .selects = true};
  }

  Schedule schedule(const Geometry& geometry) const override {
    const int64_t contextual = std::ranges::count(calibration_.classes, HeadClass::kContextual);
    const int64_t sequence = geometry.tokens_through(geometry.num_scales() - 1);
    const int64_t budget = settings_.budget.of(sequence);
    HackBudgets budgets{.contextual = budget, .structural = budget};
    // With room for everything there is nothing to share.
    if (budget < sequence) {
      budgets =
          hack_budgets(contextual, static_cast<int64_t>(calibration_.classes.size()) - contextual,
                       budget, settings_.beta);
    }
    const Schedule small = coupled_schedule(geometry, budgets.contextual);
    Schedule result = coupled_schedule(geometry, budgets.structural);
    for (int step = 0; step < geometry.num_scales(); ++step) {
      for (int64_t layer = 0; layer < geometry.layers; ++layer) {
        for (int64_t head = 0; head < geometry.kv_heads; ++head) {
          if (calibration_.class_of(geometry, layer, head) != HeadClass::kContextual) continue;
          result.attended(step, layer, head) = small.attended(step, layer, head);
          result.cached(step, layer, head) = small.cached(step, layer, head);
        }
      }
    }
    return result;
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    pool1d(head.column_sums, settings_.kernel, Pool::kMax, selection.score);
    if (calibration_.class_of(geometry_, head.layer, head.head) == HeadClass::kContextual) {
      settings_.protection.raise(head, selection.score);
      top(selection.score, head.num_attend, selection.order, selection.attend);
      const bool is_last = head.step + 1 == head.num_steps;
      if (is_last) selection.merge = settings_.final_merge;
    } else {
      rank_structural(head, selection);
      top(selection.pooled, head.num_attend, selection.order, selection.attend);
    }
    selection.num_attend = head.num_attend;
    keep_attended(head, selection);
  }

 private:
  // First and protected scales before all else; then the current scale, as a whole if it fits
  // beside them; then the middle. Where even the first scales are too many, ties keep the first of
  // them.
  void rank_structural(const HeadStatistics& head, Selection& selection) const {
    const auto candidates = static_cast<int64_t>(selection.score.size());
    const int64_t first =
        std::ranges::count_if(head.scale_ids, [this](uint8_t scale) { return comes_first(scale); });
    const int64_t others =
        std::ranges::count_if(head.scale_ids.last(static_cast<size_t>(head.num_current)),
                              [this](uint8_t scale) { return !comes_first(scale); });
    const int64_t current = candidates - head.num_current;
    const bool fits = head.num_attend >= first + others;
    for (int64_t token = 0; token < candidates; ++token) {
      const auto at = static_cast<size_t>(token);
      const bool is_current = token >= current;
      float& rank = selection.pooled[at] = selection.score[at];
      if (comes_first(head.scale_ids[at]) || (is_current && fits)) {
        rank = kFirst;
      } else if (!is_current && !fits) {
        rank = kNever;
      }
    }
    settings_.protection.raise(head, selection.pooled);
  }

  bool comes_first(uint8_t scale) const {
    return scale < settings_.first_scales || settings_.protection.covers(scale);
  }

  HackSettings settings_;
  Geometry geometry_;
  HeadCalibration calibration_;
};

}  // namespace

HackBudgets hack_budgets(int64_t contextual_heads, int64_t structural_heads, int64_t budget,
                         double beta) {
  if (contextual_heads == 0 || structural_heads == 0) return {budget, budget};
  const auto share = static_cast<int64_t>(std::floor(beta * static_cast<double>(budget)));
  const int64_t contextual = std::max<int64_t>(share, 1);
  const int64_t slots = (contextual_heads + structural_heads) * budget;
  return {.contextual = contextual,
          .structural = (slots - contextual_heads * contextual) / structural_heads};
}

std::unique_ptr<Policy> make_hack(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(
      spec, {"budget", "alpha", "beta", "nobs", "kernel", "first", "merge", "protect"});
  constexpr Merge kMerges[] = {Merge::kPivot, Merge::kAverage, Merge::kWeighted, Merge::kNone};
  const HackSettings standard;
  const HackSettings settings{
      .budget = budget_setting(spec, "budget", context),
      .beta = number_setting(spec, "beta", standard.beta, 0.0, 1.0),
      .observed = count_setting(spec, "nobs", standard.observed, 1),
      .kernel = kernel_setting(spec, "kernel", standard.kernel),
      .first_scales = count_setting(spec, "first", standard.first_scales, 0),
      .final_merge =
          kMerges[word_setting(spec, "merge", {"pivot", "average", "weighted", "none"}, 0)],
      .protection = protect_setting(spec, context)};
  const double alpha = alpha_setting(spec);
  require_measured(context, spec.name);
  return std::make_unique<Hack>(settings, context.geometry,
                                head_calibration(*context.calibration, alpha));
}

}  // namespace nextscale
