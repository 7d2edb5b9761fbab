// SPDX-License-Identifier: Apache-2.0
#include "attention/cached_attention.h"

#include <algorithm>

#include "attention/attention_probe.h"
#include "attention/trace_attention.h"
#include "core/trace.h"

namespace nextscale {
namespace {

kernels::AttentionArgs attention_shape(const Geometry& geometry, int64_t rows, int scale) {
  kernels::AttentionArgs args;
  args.rows = rows;
  args.query_heads = geometry.query_heads;
  args.kv_heads = geometry.kv_heads;
  args.queries = geometry.tokens(scale);
  args.head_dim = geometry.head_dim;
  return args;
}

}  // namespace

CachedAttention::CachedAttention(const AttentionSetup& setup, const Schedule& schedule,
                                 KvCache& cache)
    : setup_(setup),
      cache_(cache),
      selector_(setup, schedule, cache),
      kept_(static_cast<size_t>(setup.rows * setup.geometry.kv_heads)),
      heads_(kept_.size()) {}

size_t CachedAttention::scratch_bytes(const Context& context, const AttentionSetup& setup,
                                      const Schedule& schedule) {
  const int last = setup.geometry.num_scales() - 1;
  const size_t attention =
      context.kernels->attention_scratch(context, attention_shape(setup.geometry, setup.rows, last),
                                         setup.geometry.tokens_through(last));
  const size_t probe = context.probe == nullptr ? 0 : context.probe->scratch_bytes(context, setup);
  return std::max(attention, probe) + HeadSelector::scratch_bytes(context, setup, schedule);
}

void CachedAttention::measure(StageTimes* times) {
  times_ = times;
  selector_.measure(times);
}

void CachedAttention::begin_scale(int scale) {
  StageClock clock(times_);
  scale_ = scale;
  selector_.begin_scale(scale);
  clock.lap(Stage::kSelection);
}

void CachedAttention::find_candidates(int64_t layer, const LayerQkv& qkv) {
  const Geometry& geometry = setup_.geometry;
  const int64_t tokens = geometry.tokens(scale_);
  const size_t head_bytes =
      static_cast<size_t>(tokens * geometry.head_dim) * dtype_bytes(setup_.kv_dtype);
  for (size_t list = 0; list < heads_.size(); ++list) {
    const auto row = static_cast<int64_t>(list) / geometry.kv_heads;
    const auto head = static_cast<int64_t>(list) % geometry.kv_heads;
    kept_[list] = {.current = {.k = static_cast<const std::byte*>(qkv.k) + list * head_bytes,
                               .v = static_cast<const std::byte*>(qkv.v) + list * head_bytes,
                               .tokens = tokens,
                               .dtype = setup_.kv_dtype}};
    heads_[list] = {.cached = cache_.segment(layer, row, head), .current = kept_[list].current};
  }
}

// A head that attends everything runs exactly as without a policy.
void CachedAttention::apply(std::span<const HeadSelector::Choice> choices) {
  for (size_t list = 0; list < heads_.size(); ++list) {
    const HeadSelector::Choice& choice = choices[list];
    if (choice.attends_merged) {
      heads_[list] = {.cached = {},
                      .current = merged_tokens(choice.attend_merged, choice.num_attend)};
    } else if (!choice.attends_all) {
      heads_[list].attend = choice.attend.data();
      heads_[list].num_attend = choice.num_attend;
    }
    if (choice.has_bias) heads_[list].bias = choice.bias.data();
  }
}

kernels::KvSegment CachedAttention::merged_tokens(const MergedTokens& merged,
                                                  int64_t tokens) const {
  return {.k = merged.k, .v = merged.v, .tokens = tokens, .dtype = setup_.kv_dtype};
}

void CachedAttention::keep(std::span<const HeadSelector::Choice> choices) {
  for (size_t list = 0; list < kept_.size(); ++list) {
    const HeadSelector::Choice& choice = choices[list];
    KeptTokens& kept = kept_[list];
    kept.positions = choice.keep.first(static_cast<size_t>(choice.num_keep));
    kept.scores = choice.scores;
    if (!choice.keeps_merged) continue;
    kept.merged = merged_tokens(choice.keep_merged, choice.num_keep);
    kept.absorbed = choice.keep_merged.absorbed.first(static_cast<size_t>(choice.num_keep));
  }
}

void CachedAttention::run(const Context& context, int64_t layer, const LayerQkv& qkv,
                          const AttentionOutput& output) {
  find_candidates(layer, qkv);
  kernels::AttentionArgs args = attention_shape(setup_.geometry, setup_.rows, scale_);
  args.softmax_scale = setup_.softmax_scale;
  args.heads = heads_;
  args.q = qkv.q;
  args.out = output.data;
  args.out_dtype = output.dtype;

  const ArenaScope scope(*context.scratch);
  std::span<const HeadSelector::Choice> choices;
  if (selector_.needs().selects) choices = selector_.choose(context, layer, args);
  if (!choices.empty()) apply(choices);
  StageClock clock(times_);
  context.kernels->attention(context, args);
  clock.lap(Stage::kAttention, times_ == nullptr ? 0 : args.operations());
  if (context.trace != nullptr && context.trace->wants_attention()) {
    trace_attention(*context.trace, args, scale_, layer, is_last_scale());
  }
  if (context.probe != nullptr) context.probe->see(context, setup_, scale_, layer, args);
  if (is_last_scale()) return;
  if (!choices.empty()) keep(choices);
  cache_.store(context, layer, scale_, kept_);
  clock.lap(Stage::kCompaction);
}

}  // namespace nextscale
