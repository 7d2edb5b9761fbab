// SPDX-License-Identifier: Apache-2.0
#include "attention/head_selector.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error_format.h"
#include "core/parallel.h"
#include "policies/queries.h"

namespace nextscale {
namespace {

struct Lengths {
  int64_t candidates = 0;
  int64_t attended = 0;
  int64_t kept = 0;
};

// The most candidates, attended tokens and kept tokens of any head in any step.
Lengths longest(const Geometry& geometry, const Schedule& schedule) {
  Lengths result;
  for (int step = 0; step < geometry.num_scales(); ++step) {
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      for (int64_t head = 0; head < geometry.kv_heads; ++head) {
        const int64_t cached = step == 0 ? 0 : schedule.cached(step - 1, layer, head);
        result.candidates = std::max(result.candidates, cached + geometry.tokens(step));
        result.attended = std::max(result.attended, schedule.attended(step, layer, head));
        result.kept = std::max(result.kept, schedule.cached(step, layer, head));
      }
    }
  }
  return result;
}

size_t choice_bytes(const AttentionSetup& setup, const Needs& needs, const Lengths& most) {
  const auto candidates = static_cast<size_t>(most.candidates);
  size_t bytes = 2 * Arena::rounded(candidates * sizeof(int32_t));
  if (needs.token_scores()) bytes += Arena::rounded(candidates * sizeof(float));
  if (needs.may_merge || needs.weighs_tokens) {
    bytes += MergedTokens::bytes(most.attended, setup.geometry.head_dim, setup.kv_dtype);
  }
  if (needs.weighs_tokens) {
    bytes += MergedTokens::bytes(most.kept, setup.geometry.head_dim, setup.kv_dtype) +
             Arena::rounded(candidates * sizeof(float));
  }
  return bytes;
}

ColumnRoom column_room(const AttentionSetup& setup, const Needs& needs, int64_t candidates) {
  return {.candidates = candidates,
          .observed = ObservedRows::most(needs, setup.geometry),
          .head_dim = setup.geometry.head_dim};
}

size_t workspace_bytes(const kernels::KernelTable& kernels, const AttentionSetup& setup,
                       const Needs& needs, const Lengths& most) {
  const auto candidates = static_cast<size_t>(most.candidates);
  size_t bytes =
      2 * Arena::rounded(candidates * sizeof(float)) + Arena::rounded(candidates * sizeof(int32_t));
  if (needs.attention()) {
    bytes += ColumnStatistics::bytes(kernels, needs, column_room(setup, needs, most.candidates));
  }
  if (needs.value_norms) bytes += Arena::rounded(candidates * sizeof(float));
  if (needs.scale_ids) bytes += Arena::rounded(candidates);
  if (needs.may_merge) bytes += MergeSpace::bytes(kernels, most.attended, setup.geometry.head_dim);
  if (needs.weighs_tokens) {
    bytes +=
        WeightSpace::bytes(kernels, std::max(most.attended, most.kept), setup.geometry.head_dim);
  }
  return bytes;
}

// Positions of everything there is.
int64_t take_all(std::span<int32_t> positions, int64_t count) {
  std::iota(positions.begin(), positions.begin() + count, 0);
  return count;
}

}  // namespace

HeadSelector::HeadSelector(const AttentionSetup& setup, const Schedule& schedule,
                           const KvCache& cache)
    : setup_(setup),
      schedule_(schedule),
      cache_(cache),
      needs_(setup.policy->needs()),
      observed_(needs_, setup.geometry) {
  const Lengths most = longest(setup.geometry, schedule);
  max_candidates_ = most.candidates;
  max_attended_ = most.attended;
  max_kept_ = most.kept;
  const auto lists = static_cast<size_t>(setup.rows * setup.geometry.kv_heads);
  choices_.resize(lists);
  heads_.resize(lists);
  if (!needs_.layer_budgets) return;
  layers_.resize(static_cast<size_t>(setup.images));
  budgets_.resize(layers_.size());
}

size_t HeadSelector::scratch_bytes(const Context& context, const AttentionSetup& setup,
                                   const Schedule& schedule) {
  const Needs needs = setup.policy->needs();
  if (!needs.selects) return 0;
  const Lengths most = longest(setup.geometry, schedule);
  const auto lists = static_cast<size_t>(setup.rows * setup.geometry.kv_heads);
  return lists * choice_bytes(setup, needs, most) +
         static_cast<size_t>(context.num_threads) *
             workspace_bytes(*context.kernels, setup, needs, most);
}

void HeadSelector::begin_scale(int scale) {
  scale_ = scale;
  observed_.begin_scale(setup_.geometry.scales[static_cast<size_t>(scale)]);
  if (!needs_.layer_budgets) return;
  for (int64_t image = 0; image < setup_.images; ++image) share_budgets(image);
}

// All rows and heads of an image have the same length within a layer.
void HeadSelector::share_budgets(int64_t image) {
  const Geometry& geometry = setup_.geometry;
  std::vector<int64_t> candidates;
  for (int64_t layer = 0; layer < geometry.layers; ++layer) {
    candidates.push_back(cache_.length(layer, image, 0) + geometry.tokens(scale_));
  }
  auto& layers = layers_[static_cast<size_t>(image)];
  budgets_[static_cast<size_t>(image)] =
      setup_.policy->layer_budgets(layers, candidates, geometry.tokens(scale_),
                                   geometry.tokens_through(geometry.num_scales() - 1));
  layers.resize(static_cast<size_t>(geometry.layers));
}

int64_t HeadSelector::wanted(int64_t scheduled, int64_t layer, int64_t row,
                             int64_t candidates) const {
  if (!needs_.layer_budgets) return std::min(scheduled, candidates);
  const auto image = static_cast<size_t>(row % setup_.images);
  return std::min(budgets_[image][static_cast<size_t>(layer)], candidates);
}

void HeadSelector::take_memory(const Context& context) {
  Arena& arena = *context.scratch;
  const auto candidates = static_cast<size_t>(max_candidates_);
  for (Choice& choice : choices_) {
    choice = {};
    choice.attend = arena.take<int32_t>(candidates);
    choice.keep = arena.take<int32_t>(candidates);
    if (needs_.token_scores()) choice.scores = arena.take<float>(candidates);
    if (needs_.may_merge || needs_.weighs_tokens) {
      choice.attend_merged =
          MergedTokens::take(arena, max_attended_, setup_.geometry.head_dim, setup_.kv_dtype);
    }
    if (!needs_.weighs_tokens) continue;
    choice.keep_merged =
        MergedTokens::take(arena, max_kept_, setup_.geometry.head_dim, setup_.kv_dtype);
    choice.bias = arena.take<float>(candidates);
  }
  NEXTSCALE_ASSERT(static_cast<size_t>(context.num_threads) <= workspaces_.size());
  for (Workspace& workspace : workspaces_) {
    if (times_ != nullptr) workspace.times.clock = times_->clock;
    workspace.score = arena.take<float>(candidates);
    workspace.pooled = arena.take<float>(candidates);
    workspace.order = arena.take<int32_t>(candidates);
    if (needs_.attention()) {
      workspace.columns = ColumnStatistics::take(arena, *context.kernels, needs_,
                                                 column_room(setup_, needs_, max_candidates_));
    }
    if (needs_.value_norms) workspace.value_norms = arena.take<float>(candidates);
    if (needs_.scale_ids) workspace.scale_ids = arena.take<uint8_t>(candidates);
    if (needs_.may_merge) {
      workspace.merge =
          MergeSpace::take(arena, *context.kernels, max_attended_, setup_.geometry.head_dim);
    }
    if (needs_.weighs_tokens) {
      workspace.weights = WeightSpace::take(
          arena, *context.kernels, std::max(max_attended_, max_kept_), setup_.geometry.head_dim);
    }
  }
}

HeadStatistics HeadSelector::describe(int64_t layer, size_t list, int64_t candidates) const {
  const int64_t row = static_cast<int64_t>(list) / setup_.geometry.kv_heads;
  const int64_t head = static_cast<int64_t>(list) % setup_.geometry.kv_heads;
  const Grid& map = setup_.geometry.scales[static_cast<size_t>(scale_)];
  HeadStatistics result{.step = scale_,
                        .num_steps = setup_.geometry.num_scales(),
                        .layer = layer,
                        .head = head,
                        .num_candidates = candidates,
                        .num_current = map.tokens(),
                        .num_queries = num_observed(needs_, map)};
  result.num_attend = wanted(schedule_.attended(scale_, layer, head), layer, row, candidates);
  result.num_keep =
      is_last_scale() ? 0 : wanted(schedule_.cached(scale_, layer, head), layer, row, candidates);
  return result;
}

bool HeadSelector::is_short(const HeadStatistics& statistics) const {
  const int64_t count = statistics.num_candidates;
  return statistics.num_attend < count || (!is_last_scale() && statistics.num_keep < count);
}

// Whether any head needs more than everything there is. Without work, small scales cost nothing.
bool HeadSelector::has_work(int64_t layer, const kernels::AttentionArgs& args) const {
  if (needs_.token_scores() || needs_.layer_budgets || observer_) return true;
  for (size_t list = 0; list < choices_.size(); ++list) {
    const int64_t candidates = args.heads[list].cached.tokens + args.heads[list].current.tokens;
    if (is_short(describe(layer, list, candidates))) return true;
  }
  return false;
}

void HeadSelector::observe_attention(const kernels::KernelTable& kernels,
                                     const kernels::AttentionArgs& args, size_t list,
                                     const Candidates& candidates, Workspace& workspace,
                                     HeadStatistics* statistics) {
  const int64_t group = args.query_heads / args.kv_heads;
  const ColumnStatistics& columns = workspace.columns;
  observe_columns(kernels, needs_,
                  {.q = args.q + static_cast<int64_t>(list) * group * args.queries * args.head_dim,
                   .group = group,
                   .queries = args.queries,
                   .softmax_scale = args.softmax_scale},
                  observed_.rows(), candidates, columns);
  const auto count = static_cast<size_t>(candidates.count());
  statistics->column_sums = columns.sums.first(count);
  if (needs_.column_variances) statistics->column_variances = columns.variances.first(count);
  if (needs_.column_entropies) statistics->column_entropies = columns.entropies.first(count);
  if (!needs_.accumulated) return;
  // Current tokens start from zero.
  const std::span<float> accumulated = choices_[list].scores.first(count);
  const std::span<const float> before =
      cache_.token_scores({.layer = statistics->layer,
                           .row = static_cast<int64_t>(list) / args.kv_heads,
                           .head = statistics->head});
  std::ranges::copy(statistics->column_sums, accumulated.begin());
  for (size_t at = 0; at < before.size(); ++at) accumulated[at] += before[at];
  statistics->accumulated = accumulated;
}

void HeadSelector::look_at_tokens(const kernels::KernelTable& kernels, const Needs& needs,
                                  size_t list, const Candidates& candidates, Workspace& workspace,
                                  HeadStatistics* statistics) const {
  const auto count = static_cast<size_t>(candidates.count());
  if (needs.scale_ids) {
    const std::span<uint8_t> ids = workspace.scale_ids.first(count);
    const int64_t row = static_cast<int64_t>(list) / setup_.geometry.kv_heads;
    std::ranges::fill(ids, static_cast<uint8_t>(scale_));
    std::ranges::copy(cache_.scale_ids(statistics->layer, row, statistics->head), ids.begin());
    statistics->scale_ids = ids;
  }
  if (!needs.value_norms) return;
  float* norms = workspace.value_norms.data();
  kernels.value_lengths(candidates.cached, candidates.head_dim, norms);
  kernels.value_lengths(candidates.current, candidates.head_dim, norms + candidates.cached.tokens);
  statistics->value_norms = workspace.value_norms.first(count);
}

void HeadSelector::choose_head(const kernels::KernelTable& kernels, int64_t layer, size_t list,
                               const kernels::AttentionArgs& args, Workspace& workspace) {
  const Candidates candidates{.cached = args.heads[list].cached,
                              .current = args.heads[list].current,
                              .head_dim = args.head_dim};
  const int64_t count = candidates.count();
  StageClock clock(times_ == nullptr ? nullptr : &workspace.times);
  HeadStatistics statistics = describe(layer, list, count);
  const bool selects = is_short(statistics);
  const Needs needs = setup_.policy->head_needs(layer, statistics.head);
  if (selects) look_at_tokens(kernels, needs, list, candidates, workspace, &statistics);
  if (needs.attention() && (selects || needs_.accumulated || needs_.layer_budgets)) {
    observe_attention(kernels, args, list, candidates, workspace, &statistics);
  }
  if (needs_.layer_budgets) heads_[list] = setup_.policy->layer_statistics(statistics);
  clock.lap(Stage::kScoring);

  Choice& choice = choices_[list];
  const auto room = static_cast<size_t>(count);
  Selection selection{.attend = choice.attend.first(room),
                      .keep = choice.keep.first(room),
                      .score = workspace.score.first(room),
                      .pooled = workspace.pooled.first(room),
                      .order = workspace.order.first(room)};
  std::ranges::fill(selection.score, std::numeric_limits<float>::quiet_NaN());
  if (selects) {
    setup_.policy->select(statistics, selection);
  } else {
    selection.num_attend = take_all(selection.attend, count);
    selection.num_keep = is_last_scale() ? 0 : take_all(selection.keep, count);
  }
  choice.num_attend = selection.num_attend;
  choice.num_keep = selection.num_keep;
  choice.attends_all = selection.num_attend == count;
  clock.lap(Stage::kSelection);
  merge(kernels, selection.merge, candidates, workspace, choice);
  if (needs_.weighs_tokens) {
    const CacheList where{
        .layer = layer, .row = static_cast<int64_t>(list) / args.kv_heads, .head = statistics.head};
    weigh_tokens(kernels, cache_.token_scores(where), candidates, workspace, choice);
  }
  clock.lap(Stage::kCompaction);
  if (observer_) {
    observer_(static_cast<int64_t>(list) / setup_.geometry.kv_heads, statistics, selection);
  }
}

// What is attended becomes the cache, so one merging serves both.
void HeadSelector::merge(const kernels::KernelTable& kernels, Merge mode,
                         const Candidates& candidates, Workspace& workspace, Choice& choice) const {
  if (mode == Merge::kNone) return;
  merge_tokens(kernels, mode, candidates,
               choice.attend.first(static_cast<size_t>(choice.num_attend)), workspace.merge,
               choice.attend_merged);
  choice.keep_merged = choice.attend_merged;
  choice.attends_merged = true;
  choice.keeps_merged = true;
}

// What is not attended weighs on what is, for this step; what is not kept on what is, for good.
void HeadSelector::weigh_tokens(const kernels::KernelTable& kernels, std::span<const float> before,
                                const Candidates& candidates, Workspace& workspace,
                                Choice& choice) const {
  const auto count = static_cast<size_t>(candidates.count());
  const std::span<float> weights = choice.scores.first(count);
  std::ranges::fill(weights, 1.0F);
  std::ranges::copy(before, weights.begin());
  const WeighedCandidates weighed{.tokens = candidates, .weights = weights};

  const auto num_attend = static_cast<size_t>(choice.num_attend);
  const std::span<float> bias = choice.bias.first(num_attend);
  if (choice.attends_all) {
    std::ranges::copy(weights, bias.begin());
  } else {
    gather_weights(kernels, weighed, choice.attend.first(num_attend), workspace.weights,
                   choice.attend_merged, bias);
    choice.attends_merged = true;
  }
  choice.has_bias = std::ranges::any_of(bias, [](float weight) { return weight != 1.0F; });
  for (float& each : bias) each = std::log(each);

  const auto keep = choice.keep.first(static_cast<size_t>(choice.num_keep));
  if (is_last_scale() || keep.size() == count) return;
  const std::span<float> kept_weights = workspace.pooled.first(keep.size());
  gather_weights(kernels, weighed, keep, workspace.weights, choice.keep_merged, kept_weights);
  choice.keeps_merged = true;
  for (size_t index = 0; index < keep.size(); ++index) {
    weights[static_cast<size_t>(keep[index])] = kept_weights[index];
  }
}

// In the order of rows, so that the sum does not depend on threads.
void HeadSelector::average_layer(int64_t layer) {
  const auto kv_heads = static_cast<size_t>(setup_.geometry.kv_heads);
  const auto images = static_cast<size_t>(setup_.images);
  const double share = static_cast<double>(images) / static_cast<double>(heads_.size());
  for (auto& layers : layers_) layers[static_cast<size_t>(layer)] = {};
  for (size_t list = 0; list < heads_.size(); ++list) {
    LayerStatistics& sum = layers_[list / kv_heads % images][static_cast<size_t>(layer)];
    for (size_t part = 0; part < sum.size(); ++part) sum[part] += share * heads_[list][part];
  }
}

// Threads work side by side, so the time that passed is split as their work was.
void HeadSelector::book_time(double seconds) {
  StageTimes work;
  for (Workspace& workspace : workspaces_) {
    work += workspace.times;
    workspace.times.seconds = {};
  }
  const double share = seconds / work.total();
  for (size_t stage = 0; stage < kNumPolicyStages; ++stage) {
    times_->seconds[stage] += share * work.seconds[stage];
  }
}

std::span<const HeadSelector::Choice> HeadSelector::choose(const Context& context, int64_t layer,
                                                           const kernels::AttentionArgs& args) {
  StageTimes whole;
  if (times_ != nullptr) whole.clock = times_->clock;
  StageClock clock(times_ == nullptr ? nullptr : &whole);
  // Only the first call makes room: the number of threads does not change.
  if (workspaces_.empty()) workspaces_.resize(static_cast<size_t>(context.num_threads));
  if (!has_work(layer, args)) return {};
  take_memory(context);
  parallel_for(context.num_threads, static_cast<int64_t>(choices_.size()),
               [&](int64_t list, int worker) {
                 choose_head(*context.kernels, layer, static_cast<size_t>(list), args,
                             workspaces_[static_cast<size_t>(worker)]);
               });
  if (needs_.layer_budgets) average_layer(layer);
  clock.lap(Stage::kSelection);
  if (times_ != nullptr) book_time(whole.total());
  return choices_;
}

}  // namespace nextscale
