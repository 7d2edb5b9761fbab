// SPDX-License-Identifier: Apache-2.0
// HeatKV (arXiv 2605.14877): for every source scale, heads are ranked by the attention that later
// steps give it; the least needed heads lose the whole scale, as many as the budget asks for. All
// is known before generation: nothing is looked at while it runs. Every step attends what the
// cache holds and its own tokens.
//
// The ranking comes from the attention mass of the calibration, or is the published one where it
// was imported.
//
// Knobs: cache (10 %, the paper's headline) or budget, which means the same, tokens per head in the
// mean over the model; of, what a percentage is of (sequence, as for every policy here; history,
// the cache that enters the last step, as the paper counts, methods.md 1.4); sink, the first scales
// that are never removed (3, official; fewer where a budget in tokens has no room for them).
#include "policies/heatkv.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error_format.h"
#include "policies/budget.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr Budget kDefaultCache{.share = 0.1, .tokens = 0};
constexpr int kDefaultSink = 3;
// Shares such as 0.1 * 6425 may come out a few units in the last place beside the number meant.
constexpr double kRoundingGuard = 1e-9;

int64_t tokens_before(std::span<const Grid> scales, int scale) {
  return std::transform_reduce(scales.begin(), scales.begin() + scale, int64_t{0}, std::plus<>{},
                               [](const Grid& grid) { return grid.tokens(); });
}

// The atoms that are gone, and the tokens that are left, while the layers of one step take turns.
class GrowingCache {
 public:
  GrowingCache(const Geometry& geometry, const HeatBudget& budget)
      : geometry_(geometry),
        sink_(budget.sink),
        limit_(budget.tokens * static_cast<double>(geometry.layers * geometry.kv_heads) *
               (1.0 + kRoundingGuard)),
        active_(static_cast<size_t>(geometry.num_scales() * geometry.layers * geometry.kv_heads)) {}

  // The step's scale is stored layer by layer.
  void begin_step(int step) {
    step_ = step;
    tokens_ = 0;
    for (int source = 0; source < step; ++source) {
      for (int64_t list = 0; list < geometry_.layers * geometry_.kv_heads; ++list) {
        if (active_[index(source, list)] == 0) tokens_ += geometry_.tokens(source);
      }
    }
  }
  // Sinks of the step itself do not count in the published rule.
  void store_layer(int64_t layer) {
    if (step_ < sink_) return;
    for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
      const int64_t list = layer * geometry_.kv_heads + head;
      if (active_[index(step_, list)] == 0) tokens_ += geometry_.tokens(step_);
    }
  }
  bool is_removed(const HeatAtom& atom) const { return active_[index_of(atom)] != 0; }
  void remove(const HeatAtom& atom) {
    uint8_t& gone = active_[index_of(atom)];
    if (gone == 0 && atom.source < step_) tokens_ -= geometry_.tokens(atom.source);
    gone = 1;
  }
  bool exceeds() const { return static_cast<double>(tokens_) > limit_; }

 private:
  size_t index(int source, int64_t list) const {
    return static_cast<size_t>(source * geometry_.layers * geometry_.kv_heads + list);
  }
  size_t index_of(const HeatAtom& atom) const {
    return index(atom.source, atom.at.layer * geometry_.kv_heads + atom.at.head);
  }

  const Geometry& geometry_;
  int sink_;
  double limit_;
  int step_ = 0;
  int64_t tokens_ = 0;
  std::vector<uint8_t> active_;  // [scales, layers, kv_heads]
};

class HeatPlanner {
 public:
  HeatPlanner(const Geometry& geometry, const std::vector<std::vector<LayerHead>>& orders,
              const HeatBudget& budget)
      : geometry_(geometry),
        orders_(orders),
        budget_(budget),
        cache_(geometry, budget),
        plan_(geometry) {
    plan_.counts = heat_counts(geometry.scales, budget, geometry.layers * geometry.kv_heads);
  }

  HeatPlan plan() {
    for (int step = 0; step + 1 < geometry_.num_scales(); ++step) run_step(step);
    return std::move(plan_);
  }

 private:
  // What must be gone before the next step: the same number of heads from every prunable scale.
  std::span<const LayerHead> target(int step, int source) const {
    const auto count = static_cast<size_t>(plan_.counts[static_cast<size_t>(step + 1)]);
    return std::span(orders_[static_cast<size_t>(source)]).first(count);
  }

  void run_step(int step) {
    cache_.begin_step(step);
    for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
      for (int source = budget_.sink; source <= step; ++source) {
        for (const LayerHead& at : target(step, source)) {
          if (at.layer == layer) cache_.remove({source, at});
        }
      }
      cache_.store_layer(layer);
      if (cache_.exceeds()) make_room(step, layer);
    }
    for (int later = step + 1; later < geometry_.num_scales(); ++later) {
      for (int source = budget_.sink; source <= step; ++source) {
        for (const LayerHead& at : target(step, source)) plan_.remove(later, {source, at});
      }
    }
  }

  // Takes from later layers what they would lose in this step anyway, and so before the step.
  void make_room(int step, int64_t layer) {
    for (int64_t later = geometry_.layers - 1; later > layer; --later) {
      for (int source = step - 1; source >= budget_.sink; --source) {
        for (const LayerHead& at : target(step, source)) {
          const HeatAtom atom{source, at};
          if (at.layer != later || cache_.is_removed(atom)) continue;
          cache_.remove(atom);
          plan_.remove(step, atom);
          plan_.early[static_cast<size_t>(step)][layer].push_back(atom);
          if (!cache_.exceeds()) return;
        }
      }
    }
    fail(ErrorCode::kUsage,
         "--kv: policy 'heatkv' cannot hold {} tokens per head while layer {} stores scale {}; "
         "give it more, or fewer sink scales than {}",
         budget_.tokens, layer, step, budget_.sink);
  }

  const Geometry& geometry_;
  const std::vector<std::vector<LayerHead>>& orders_;
  HeatBudget budget_;
  GrowingCache cache_;
  HeatPlan plan_;
};

class Heatkv : public Policy {
 public:
  explicit Heatkv(HeatPlan plan) : plan_(std::move(plan)) {}

  Needs needs() const override { return {.scale_ids = true, .selects = true}; }

  Schedule schedule(const Geometry& geometry) const override {
    Schedule result(geometry.num_scales(), geometry.layers, geometry.kv_heads);
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      for (int64_t head = 0; head < geometry.kv_heads; ++head) {
        int64_t cached = 0;
        for (int step = 0; step < geometry.num_scales(); ++step) {
          result.attended(step, layer, head) = cached + geometry.tokens(step);
          cached = kept_after(geometry, step, {layer, head});
          result.cached(step, layer, head) = cached;
        }
      }
    }
    return result;
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    std::iota(selection.attend.begin(), selection.attend.end(), 0);
    selection.num_attend = head.num_attend;
    selection.num_keep = 0;
    if (head.step + 1 == head.num_steps) return;
    for (int64_t token = 0; token < head.num_candidates; ++token) {
      const int source = head.scale_ids[static_cast<size_t>(token)];
      if (plan_.removes(head.step + 1, {source, {head.layer, head.head}})) continue;
      selection.keep[static_cast<size_t>(selection.num_keep++)] = static_cast<int32_t>(token);
    }
  }

 private:
  int64_t kept_after(const Geometry& geometry, int step, const LayerHead& at) const {
    if (step + 1 == geometry.num_scales()) return 0;
    int64_t tokens = 0;
    for (int source = 0; source <= step; ++source) {
      if (!plan_.removes(step + 1, {source, at})) tokens += geometry.tokens(source);
    }
    return tokens;
  }

  HeatPlan plan_;
};

double tokens_per_head(const PolicySpec& spec, const PolicyContext& context) {
  const Geometry& geometry = context.geometry;
  const int last = geometry.num_scales() - 1;
  const Budget budget = cache_budget_setting(spec, context, kDefaultCache);
  const bool of_history = word_setting(spec, "of", {"sequence", "history"}, 0) == 1;
  if (budget.tokens == 0 && of_history) {
    return budget.share * static_cast<double>(geometry.tokens_through(last - 1));
  }
  return static_cast<double>(budget.of(geometry.tokens_through(last)));
}

// The sinks asked for must fit; where none are asked for, as many of the usual ones as do.
int sink_setting(const PolicySpec& spec, const Geometry& geometry, double tokens) {
  const auto fits = [&](int64_t scales) {
    return static_cast<double>(geometry.tokens_through(static_cast<int>(scales) - 1)) <= tokens;
  };
  const int64_t most = geometry.num_scales() - 1;
  int64_t sink = std::min<int64_t>(kDefaultSink, most);
  while (sink > 0 && !fits(sink)) --sink;
  const int64_t asked = count_setting(spec, "sink", sink, 0);
  if (asked <= most && fits(asked)) return static_cast<int>(asked);
  fail(ErrorCode::kUsage,
       "--kv: policy '{}' got sink={}, whose tokens are always kept, wanted at most {} scales "
       "within {} tokens per head; write for example sink={}",
       spec.name, asked, most, tokens, sink);
}

}  // namespace

HeatPlan::HeatPlan(const Geometry& geometry)
    : early(geometry.scales.size()),
      steps_(geometry.num_scales()),
      layers_(geometry.layers),
      heads_(geometry.kv_heads),
      removed_(static_cast<size_t>(steps_ * steps_ * layers_ * heads_)) {}

std::vector<int64_t> heat_counts(std::span<const Grid> scales, const HeatBudget& budget,
                                 int64_t slots) {
  std::vector<int64_t> counts;
  const int64_t sink_tokens = tokens_before(scales, budget.sink);
  for (int step = 0; step < static_cast<int>(scales.size()); ++step) {
    const int64_t incoming = tokens_before(scales, step);
    const double excess = static_cast<double>(incoming) - budget.tokens;
    if (excess <= kRoundingGuard * budget.tokens) {
      counts.push_back(0);
      continue;
    }
    const auto prunable = static_cast<double>(incoming - std::min(sink_tokens, incoming));
    const double heads = static_cast<double>(slots) * excess / prunable;
    const auto count = static_cast<int64_t>(std::ceil(heads - kRoundingGuard));
    counts.push_back(std::min(count, slots));
  }
  return counts;
}

std::vector<double> later_attention(const Calibration& calibration) {
  const int steps = calibration.num_steps();
  std::vector<double> result;
  for (int64_t layer = 0; layer < calibration.layers; ++layer) {
    for (int64_t head = 0; head < calibration.kv_heads; ++head) {
      for (int source = 0; source < steps; ++source) {
        double sum = 0;
        for (int step = source + 1; step < steps; ++step) {
          sum += calibration.mass_of({layer, head}, step, source);
        }
        result.push_back(sum / std::max(steps - 1 - source, 1));
      }
    }
  }
  return result;
}

std::vector<std::vector<LayerHead>> heat_orders(const Calibration& calibration, int sink) {
  const int steps = calibration.num_steps();
  const std::vector<double> scores =
      calibration.mass.empty() ? std::vector<double>{} : later_attention(calibration);
  std::vector<std::vector<LayerHead>> orders(static_cast<size_t>(steps));
  for (int source = sink; source + 1 < steps; ++source) {
    auto& order = orders[static_cast<size_t>(source)];
    if (!calibration.removal_orders.empty()) {
      order = calibration.removal_orders[static_cast<size_t>(source)];
    }
    if (!order.empty()) continue;
    if (scores.empty()) {
      fail(ErrorCode::kMismatch,
           "--kv: policy 'heatkv' wants a ranking of the heads for scale {}, the calibration holds "
           "none and no measured attention; make one with `nextscale calibrate -m MODEL -n 50 -o "
           "FILE`",
           source);
    }
    for (int64_t head = 0; head < calibration.kv_heads; ++head) {
      for (int64_t layer = 0; layer < calibration.layers; ++layer) order.push_back({layer, head});
    }
    std::ranges::stable_sort(order, {}, [&](const LayerHead& at) {
      return scores[static_cast<size_t>((at.layer * calibration.kv_heads + at.head) * steps +
                                        source)];
    });
  }
  return orders;
}

HeatPlan heat_plan(const Geometry& geometry, const std::vector<std::vector<LayerHead>>& orders,
                   const HeatBudget& budget) {
  return HeatPlanner(geometry, orders, budget).plan();
}

std::unique_ptr<Policy> make_heatkv(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"cache", "budget", "of", "sink"});
  const double tokens = tokens_per_head(spec, context);
  const HeatBudget budget{.tokens = tokens, .sink = sink_setting(spec, context.geometry, tokens)};
  return std::make_unique<Heatkv>(
      heat_plan(context.geometry, heat_orders(*context.calibration, budget.sink), budget));
}

}  // namespace nextscale
