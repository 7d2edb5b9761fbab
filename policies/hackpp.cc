// SPDX-License-Identifier: Apache-2.0
// HACK++ (arXiv 2606.08302): heads are contextual, whose attention moves with the picture, or
// structural, whose attention follows position. Contextual heads keep what a spread sample of
// queries attends (Eq. 11, 12), structural heads what a calibrated prior over source scales times
// the value norm favours (Eq. 13-15). What is attended and what is cached are chosen separately
// (decoupled, Eq. 8-10), and the cache is shared by (layer, class) groups in proportion to their
// calibrated reliance on it, step by step (Eq. 18).
//
// Knobs: attn and cache, the two budgets (30 % and 10 %, the paper's main setting on Infinity), or
// budget for both alike; 100 % switches a stage off; alpha, the share of contextual heads (0.2) and
// tau, the sharpness of the sharing (1; 0 shares evenly): Infinity-2B's values, the paper has 0.15
// to 0.35 and 0.5 to 2 for others (methods.md 1.5); nobs, sampled queries (32, the paper); kernel
// of the max pooling (5, as SnapKV, which the paper cites); floor (1 token per head, so that no
// history is empty); protect, scales kept before all others (none).
//
// Knobs of its ablations: sampling (uniform; initial, last); score, which score the heads get (own;
// contextual, structural: all the same; swapped); structural, what that score is (both; prior,
// norm); axes, along what budgets differ (layer+type+step; any of them; none).
#include "policies/hackpp.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error_format.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr double kLargestTau = 100.0;

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

// The weights of Eq. 18, [layers, classes, steps], and their means where an ablation takes an axis
// away.
class Weights {
 public:
  Weights(std::span<const int64_t> sizes, std::span<const double> reliance,
          const HackppSettings& settings)
      : sizes_(sizes), steps_(reliance.size() / sizes.size()) {
    for (const double value : reliance) values_.push_back(std::pow(value, settings.tau));
    if (!settings.axes.step) flatten_steps();
    const auto classes = static_cast<size_t>(kHeadClasses);
    const size_t layers = sizes.size() / classes;
    if (!settings.axes.layer && !settings.axes.type) {
      flatten_groups(0, sizes.size(), 1);
    } else if (!settings.axes.layer) {
      for (size_t type = 0; type < classes; ++type) flatten_groups(type, layers, classes);
    } else if (!settings.axes.type) {
      for (size_t layer = 0; layer < layers; ++layer) flatten_groups(layer * classes, classes, 1);
    }
  }

  double of(size_t group, int step) const {
    return values_[group * steps_ + static_cast<size_t>(step)];
  }

 private:
  // The last step caches nothing and does not count.
  void flatten_steps() {
    for (size_t group = 0; group < sizes_.size() && steps_ > 1; ++group) {
      const auto first = values_.begin() + static_cast<ptrdiff_t>(group * steps_);
      const auto last = first + static_cast<ptrdiff_t>(steps_ - 1);
      std::fill(first, last, std::accumulate(first, last, 0.0) / static_cast<double>(steps_ - 1));
    }
  }

  // The mean over the heads of `count` groups, `stride` apart, step by step.
  void flatten_groups(size_t first, size_t count, size_t stride) {
    for (size_t step = 0; step < steps_; ++step) {
      double sum = 0;
      double heads = 0;
      for (size_t member = 0; member < count; ++member) {
        const size_t group = first + member * stride;
        sum += static_cast<double>(sizes_[group]) * values_[group * steps_ + step];
        heads += static_cast<double>(sizes_[group]);
      }
      for (size_t member = 0; member < count; ++member) {
        values_[(first + member * stride) * steps_ + step] = sum / std::max(heads, 1.0);
      }
    }
  }

  std::span<const int64_t> sizes_;
  size_t steps_;
  std::vector<double> values_;
};

class Hackpp : public Policy {
 public:
  Hackpp(const HackppSettings& settings, const Geometry& geometry, HeadCalibration calibration)
      : settings_(settings), geometry_(geometry), calibration_(std::move(calibration)) {}

  Needs needs() const override {
    return {.queries = settings_.sampling,
            .num_queries = settings_.observed,
            .value_norms = true,
            .scale_ids = true,
            .selects = true};
  }

  Needs head_needs(int64_t layer, int64_t head) const override {
    Needs result = needs();
    if (score_of(layer, head) == HeadClass::kContextual) {
      result.value_norms = false;
      result.scale_ids = settings_.protection.any();
    } else {
      result.queries = ObservedQueries::kNone;
      result.value_norms = settings_.structural != StructuralScore::kPrior;
      result.scale_ids =
          settings_.structural != StructuralScore::kNorm || settings_.protection.any();
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
    if (score_of(head.layer, head.head) == HeadClass::kContextual) {
      score_contextual(head, selection);
    } else {
      score_structural(head, selection);
    }
    settings_.protection.raise(head, selection.score);
    top(selection.score, head.num_attend, selection.order, selection.attend);
    top(selection.score, head.num_keep, selection.order, selection.keep);
    selection.num_attend = head.num_attend;
    selection.num_keep = head.num_keep;
  }

 private:
  // Which score a head is ranked by.
  HeadClass score_of(int64_t layer, int64_t head) const {
    const HeadClass own = calibration_.class_of(geometry_, layer, head);
    switch (settings_.scores) {
      case HeadScores::kOwn:
        return own;
      case HeadScores::kContextual:
        return HeadClass::kContextual;
      case HeadScores::kStructural:
        return HeadClass::kStructural;
      case HeadScores::kSwapped:
        break;
    }
    return own == HeadClass::kContextual ? HeadClass::kStructural : HeadClass::kContextual;
  }

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
      float& score = selection.score[token];
      score = settings_.structural == StructuralScore::kNorm ? 1.0F : prior[head.scale_ids[token]];
      if (settings_.structural != StructuralScore::kPrior) score *= head.value_norms[token];
    }
  }

  HackppSettings settings_;
  Geometry geometry_;
  HeadCalibration calibration_;
};

ReliesOn axes_setting(const PolicySpec& spec) {
  const auto found = spec.settings.find("axes");
  if (found == spec.settings.end()) return {};
  ReliesOn axes{.step = false, .layer = false, .type = false};
  if (found->second == "none") return axes;
  std::string_view rest = found->second;
  while (true) {
    const size_t plus = rest.find('+');
    const std::string_view axis = rest.substr(0, plus);
    bool* const named = axis == "step"    ? &axes.step
                        : axis == "layer" ? &axes.layer
                        : axis == "type"  ? &axes.type
                                          : nullptr;
    if (named == nullptr) {
      fail(ErrorCode::kUsage,
           "--kv: policy '{}' got axes={}, wanted none or some of layer, type, step; write for "
           "example axes=layer+type",
           spec.name, printable(found->second));
    }
    *named = true;
    if (plus == std::string_view::npos) return axes;
    rest.remove_prefix(plus + 1);
  }
}

ObservedQueries sampling_setting(const PolicySpec& spec) {
  constexpr ObservedQueries kSamples[] = {ObservedQueries::kUniform, ObservedQueries::kFirst,
                                          ObservedQueries::kLast};
  return kSamples[word_setting(spec, "sampling", {"uniform", "initial", "last"}, 0)];
}

HackppSettings hackpp_settings(const PolicySpec& spec, const PolicyContext& context) {
  constexpr HeadScores kScores[] = {HeadScores::kOwn, HeadScores::kContextual,
                                    HeadScores::kStructural, HeadScores::kSwapped};
  constexpr StructuralScore kStructural[] = {StructuralScore::kPriorTimesNorm,
                                             StructuralScore::kPrior, StructuralScore::kNorm};
  const HackppSettings standard;
  const auto budget = [&](const char* key, Budget fallback) {
    return budget_setting(spec, key, context, budget_setting(spec, "budget", context, fallback));
  };
  return {
      .attention = budget("attn", standard.attention),
      .cache = budget("cache", standard.cache),
      .tau = number_setting(spec, "tau", standard.tau, 0.0, kLargestTau),
      .observed = count_setting(spec, "nobs", standard.observed, 1),
      .sampling = sampling_setting(spec),
      .kernel = kernel_setting(spec, "kernel", standard.kernel),
      .floor = count_setting(spec, "floor", standard.floor, 0),
      .axes = axes_setting(spec),
      .scores =
          kScores[word_setting(spec, "score", {"own", "contextual", "structural", "swapped"}, 0)],
      .structural = kStructural[word_setting(spec, "structural", {"both", "prior", "norm"}, 0)],
      .protection = protect_setting(spec, context)};
}

}  // namespace

HackppPlan hackpp_plan(const Geometry& geometry, std::span<const int64_t> group_sizes,
                       std::span<const double> reliance, const HackppSettings& settings) {
  const int steps = geometry.num_scales();
  const int64_t sequence = geometry.tokens_through(steps - 1);
  const int64_t slots = geometry.layers * geometry.kv_heads * settings.cache.of(sequence);
  const Weights weights(group_sizes, reliance, settings);
  HackppPlan plan;
  std::vector<int64_t> cached(group_sizes.size());
  for (int step = 0; step < steps; ++step) {
    std::vector<BudgetGroup> groups = groups_of(group_sizes, cached, geometry.tokens(step));
    for (size_t group = 0; group < groups.size(); ++group) {
      groups[group].weight = weights.of(group, step);
      plan.attended.push_back(std::min(groups[group].capacity, settings.attention.of(sequence)));
    }
    // Gives everybody all there is while the slots last.
    cached = allocate(groups, slots, settings.floor);
    if (step + 1 == steps) std::ranges::fill(cached, 0);
    plan.cached.insert(plan.cached.end(), cached.begin(), cached.end());
  }
  return plan;
}

std::unique_ptr<Policy> make_hackpp(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"attn", "cache", "budget", "alpha", "tau", "nobs", "sampling",
                                "kernel", "floor", "axes", "score", "structural", "protect"});
  const HackppSettings settings = hackpp_settings(spec, context);
  const double alpha = alpha_setting(spec);
  require_measured(context, spec.name);
  return std::make_unique<Hackpp>(settings, context.geometry,
                                  head_calibration(*context.calibration, alpha));
}

}  // namespace nextscale
