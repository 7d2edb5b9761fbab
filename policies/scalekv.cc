// SPDX-License-Identifier: Apache-2.0
// ScaleKV (Li et al., arXiv 2505.19602): layers are drafters at a step, which look at the whole
// history, or refiners, which look at what is near. Drafters keep nearly everything, refiners share
// what the mean budget leaves. Every step attends all there is; afterwards, a window of queries
// spread over the map votes and stays itself.
//
// The roles come from the attention selectivity index of the calibration, or from published tables
// where they were imported. With published tables and no budget asked for, their own budgets hold.
//
// Knobs: cache (10 % of the whole sequence; the paper's 10 % is of the history before the last
// step, methods.md 1.4) or budget, which means the same; base, the tokens up to which nothing is
// dropped (the budget, official); drafters, how many (layer, step) pairs (one in 40; the paper's
// tables have 9 of 416 and 15 of 520); window (16, official; a smaller budget shrinks it); score
// (softmax, as in the paper; logits, as in its code); pool (max, as in the code; avg, as in the
// paper), kernel (5); protect, scales kept before all others (none).
#include "policies/scalekv.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error_format.h"
#include "policies/budget.h"
#include "policies/protection.h"
#include "policies/queries.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr Budget kDefaultCache{.share = 0.1, .tokens = 0};
constexpr int64_t kDefaultWindow = 16;
constexpr int64_t kDefaultKernel = 5;
constexpr int64_t kPairsPerDrafter = 40;
constexpr double kDeviationGuard = 1e-6;  // against layers that are all alike
constexpr float kAlways = std::numeric_limits<float>::infinity();

struct ScalekvSettings {
  int64_t window = kDefaultWindow;
  ObservedValues score = ObservedValues::kAttention;
  Pool pool = Pool::kMax;
  int64_t kernel = kDefaultKernel;
  Protection protection = {};
};

class Scalekv : public Policy {
 public:
  Scalekv(const ScalekvSettings& settings, const Geometry& geometry, std::vector<int64_t> budgets)
      : settings_(settings), geometry_(geometry), budgets_(std::move(budgets)) {}

  Needs needs() const override {
    return {.queries = ObservedQueries::kGrid,
            .num_queries = settings_.window,
            .observed = settings_.score,
            .scale_ids = settings_.protection.any(),
            .selects = true};
  }

  Schedule schedule(const Geometry& geometry) const override {
    Schedule result(geometry.num_scales(), geometry.layers, geometry.kv_heads);
    std::vector<int64_t> cached(static_cast<size_t>(geometry.layers));
    for (int step = 0; step < geometry.num_scales(); ++step) {
      const bool is_last = step + 1 == geometry.num_scales();
      for (int64_t layer = 0; layer < geometry.layers; ++layer) {
        int64_t& length = cached[static_cast<size_t>(layer)];
        const int64_t candidates = length + geometry.tokens(step);
        const auto at = static_cast<size_t>(step * geometry.layers + layer);
        length = is_last ? 0 : std::min(candidates, budgets_[at]);
        for (int64_t head = 0; head < geometry.kv_heads; ++head) {
          result.attended(step, layer, head) = candidates;
          result.cached(step, layer, head) = length;
        }
      }
    }
    return result;
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    std::iota(selection.attend.begin(), selection.attend.end(), 0);
    selection.num_attend = head.num_attend;
    // Where the window lies; `keep` is free until it is written.
    const Grid& map = geometry_.scales[static_cast<size_t>(head.step)];
    const int64_t window =
        scalekv_window(map, settings_.window, head.num_candidates, selection.keep);
    const auto window_tokens = selection.keep.first(static_cast<size_t>(window));
    const auto give_window = [&](std::span<float> score, float value) {
      for (const int32_t token : window_tokens) score[static_cast<size_t>(token)] = value;
    };
    std::ranges::copy(head.column_sums, selection.pooled.begin());
    give_window(selection.pooled, settings_.pool == Pool::kMax ? -kAlways : 0.0F);
    pool1d(selection.pooled, settings_.kernel, settings_.pool, selection.score);
    give_window(selection.score, -kAlways);

    std::ranges::copy(selection.score, selection.pooled.begin());
    give_window(selection.pooled, kAlways);
    settings_.protection.raise(head, selection.pooled);
    top(selection.pooled, head.num_keep, selection.order, selection.keep);
    selection.num_keep = head.num_keep;
  }

 private:
  ScalekvSettings settings_;
  Geometry geometry_;
  std::vector<int64_t> budgets_;  // [steps, layers]
};

// The most that drafters can get if the mean is to come out even and the others keep a window.
int64_t drafter_budget(const ScalekvBudgets& budgets, int64_t layers, int64_t num_drafters,
                       int64_t longest) {
  const int64_t others = layers - num_drafters;
  const int64_t total = layers * budgets.uniform;
  int64_t most = std::min(longest, (total - others * budgets.window) / num_drafters);
  while (most > budgets.uniform && (total - num_drafters * most) % others != 0) --most;
  return std::max(most, budgets.uniform);
}

// Budgets that were imported hold for the steps that read them; before, the mean of the first.
std::vector<int64_t> published_budgets(const Geometry& geometry, const Calibration& calibration) {
  const auto layers = static_cast<size_t>(geometry.layers);
  const auto& table = calibration.layer_budgets;
  const auto row = [&](size_t step) { return std::span(table).subspan(step * layers, layers); };
  int64_t base = 0;
  for (size_t step = 0; step < calibration.scales.size() && base == 0; ++step) {
    base = std::accumulate(row(step).begin(), row(step).end(), int64_t{0}) / geometry.layers;
  }
  std::vector<int64_t> budgets(table.begin() + geometry.layers, table.end());
  for (int64_t& budget : budgets) budget = budget > 0 ? budget : base;
  budgets.insert(budgets.end(), layers, geometry.tokens_through(geometry.num_scales() - 1));
  return budgets;
}

std::vector<uint8_t> roles(const PolicySpec& spec, const PolicyContext& context) {
  const Calibration& calibration = *context.calibration;
  const bool counted = spec.settings.contains("drafters");
  if (!counted && !calibration.drafters.empty()) return calibration.drafters;
  if (calibration.asi.empty()) {
    fail(ErrorCode::kMismatch,
         "--kv: policy '{}' wants a measured attention selectivity index{}, the calibration has "
         "none; make one with `nextscale calibrate -m MODEL -n 50 -o FILE`",
         spec.name, counted ? " to count drafters by" : " or published roles");
  }
  const int64_t pairs = context.geometry.layers * context.geometry.num_scales();
  const int64_t standard = std::max<int64_t>((pairs + kPairsPerDrafter / 2) / kPairsPerDrafter, 1);
  return scalekv_drafters(calibration, count_setting(spec, "drafters", standard, 0));
}

}  // namespace

std::vector<double> asi_z_scores(const Calibration& calibration) {
  const size_t steps = calibration.scales.size();
  const auto layers = static_cast<double>(calibration.layers);
  std::vector<double> scores(calibration.asi.size());
  for (size_t step = 1; step < steps; ++step) {
    double sum = 0;
    for (size_t at = step; at < scores.size(); at += steps) sum += calibration.asi[at];
    const double mean = sum / layers;
    double squares = 0;
    for (size_t at = step; at < scores.size(); at += steps) {
      squares += (calibration.asi[at] - mean) * (calibration.asi[at] - mean);
    }
    const double deviation = std::sqrt(squares / layers) + kDeviationGuard;
    for (size_t at = step; at < scores.size(); at += steps) {
      scores[at] = (calibration.asi[at] - mean) / deviation;
    }
  }
  return scores;
}

std::vector<uint8_t> scalekv_drafters(const Calibration& calibration, int64_t count) {
  const std::vector<double> scores = asi_z_scores(calibration);
  const size_t steps = calibration.scales.size();
  std::vector<size_t> pairs;  // places in `scores`; step 0 has no history to look at
  for (size_t at = 0; at < scores.size(); ++at) {
    if (at % steps > 0) pairs.push_back(at);
  }
  std::ranges::stable_sort(pairs, {}, [&](size_t at) { return scores[at]; });
  pairs.resize(std::min(pairs.size(), static_cast<size_t>(count)));
  std::vector<uint8_t> drafters(scores.size());
  for (const size_t at : pairs) {
    drafters[at % steps * static_cast<size_t>(calibration.layers) + at / steps] = 1;
  }
  return drafters;
}

std::vector<int64_t> scalekv_budgets(const Geometry& geometry, const std::vector<uint8_t>& drafters,
                                     const ScalekvBudgets& budgets) {
  const int steps = geometry.num_scales();
  const auto layers = static_cast<size_t>(geometry.layers);
  std::vector<int64_t> result;
  std::vector<int64_t> cached(layers);
  bool is_reached = false;
  for (int step = 0; step + 1 < steps; ++step) {
    for (int64_t& length : cached) length += geometry.tokens(step);
    const int64_t longest = std::ranges::max(cached);
    is_reached = is_reached || longest > budgets.base;
    std::vector<int64_t> row(layers, budgets.uniform);
    const auto role = drafters.begin() + static_cast<ptrdiff_t>(layers) * (step + 1);
    const int64_t num_drafters = std::count(role, role + static_cast<ptrdiff_t>(layers), 1);
    if (!is_reached) {
      row.assign(layers, geometry.tokens_through(steps - 1));
    } else if (num_drafters > 0 && num_drafters < geometry.layers) {
      const int64_t most = drafter_budget(budgets, geometry.layers, num_drafters, longest);
      const int64_t others = (geometry.layers * budgets.uniform - num_drafters * most) /
                             (geometry.layers - num_drafters);
      for (size_t layer = 0; layer < layers; ++layer) row[layer] = role[layer] ? most : others;
    }
    for (size_t layer = 0; layer < layers; ++layer) {
      cached[layer] = std::min(cached[layer], row[layer]);
    }
    result.insert(result.end(), row.begin(), row.end());
  }
  result.insert(result.end(), layers, geometry.tokens_through(steps - 1));
  return result;
}

int64_t scalekv_window(const Grid& map, int64_t window, int64_t candidates,
                       std::span<int32_t> out) {
  const int64_t side = patch_grid_side(map, window);
  const int64_t count = side > 0 ? side * side : std::min(window, candidates);
  for (int64_t index = 0; index < count; ++index) {
    const int64_t position = side > 0 ? candidates - map.tokens() + grid_query(map, side, index)
                                      : candidates - count + index;
    out[static_cast<size_t>(index)] = static_cast<int32_t>(position);
  }
  return count;
}

std::unique_ptr<Policy> make_scalekv(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"cache", "budget", "base", "drafters", "window", "score", "pool",
                                "kernel", "protect"});
  const Geometry& geometry = context.geometry;
  const int64_t sequence = geometry.tokens_through(geometry.num_scales() - 1);
  const int64_t uniform = cache_budget_setting(spec, context, kDefaultCache).of(sequence);
  const int64_t base = budget_setting(spec, "base", context, {.tokens = uniform}).of(sequence);
  ScalekvSettings settings{
      .window = std::min(count_setting(spec, "window", kDefaultWindow, 1), uniform),
      .score = word_setting(spec, "score", {"softmax", "logits"}, 0) == 0
                   ? ObservedValues::kAttention
                   : ObservedValues::kLogits,
      .pool = word_setting(spec, "pool", {"max", "avg"}, 0) == 0 ? Pool::kMax : Pool::kAverage,
      .kernel = kernel_setting(spec, "kernel", kDefaultKernel),
      .protection = protect_setting(spec, context)};
  const bool as_published = !context.calibration->layer_budgets.empty() &&
                            !spec.settings.contains("cache") && !spec.settings.contains("budget");
  std::vector<int64_t> budgets =
      as_published ? published_budgets(geometry, *context.calibration)
                   : scalekv_budgets(geometry, roles(spec, context),
                                     {.uniform = uniform, .base = base, .window = settings.window});
  return std::make_unique<Scalekv>(settings, geometry, std::move(budgets));
}

}  // namespace nextscale
