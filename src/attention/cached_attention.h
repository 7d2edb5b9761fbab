// SPDX-License-Identifier: Apache-2.0
// Attention of the current scale over what the cache holds: the seam between blocks, which know
// nothing of policies, and policies, which know nothing of tensors.
//
// One object serves one generation. It borrows the cache, which must outlive it.
#pragma once

#include <vector>

#include "attention/head_selector.h"
#include "cache/kv_cache.h"
#include "core/context.h"
#include "core/geometry.h"
#include "core/stage_times.h"
#include "kernels/kernels.h"

namespace nextscale {

// The projections of one layer at the current scale.
struct LayerQkv {
  const float* q = nullptr;  // [rows, query_heads, tokens, head_dim]
  const void* k = nullptr;   // [rows, kv_heads, tokens, head_dim], kv_dtype()
  const void* v = nullptr;   // as k
};

struct AttentionOutput {
  void* data = nullptr;  // [rows, tokens, query_heads * head_dim]
  DType dtype = DType::kF32;
};

class CachedAttention {
 public:
  // `setup.policy` and `cache` must outlive this object.
  CachedAttention(const AttentionSetup& setup, const Schedule& schedule, KvCache& cache);

  void begin_scale(int scale);

  // Attends what the policy selects, then keeps what it keeps of the layer's keys and values for
  // later steps. Takes scratch_bytes() from context.scratch while it runs. Allocates nothing.
  void run(const Context& context, int64_t layer, const LayerQkv& qkv,
           const AttentionOutput& output);

  // The most scratch memory that run() takes in any step of such a generation.
  static size_t scratch_bytes(const Context& context, const AttentionSetup& setup,
                              const Schedule& schedule);

  void observe(SelectionObserver observer) { selector_.observe(std::move(observer)); }
  // Adds the time of every stage from now on to `times`, which must outlive this object.
  void measure(StageTimes* times);

  // Of the current keys and values.
  DType kv_dtype() const { return setup_.kv_dtype; }
  int64_t rows() const { return setup_.rows; }

 private:
  bool is_last_scale() const { return scale_ + 1 == setup_.geometry.num_scales(); }
  void find_candidates(int64_t layer, const LayerQkv& qkv);
  void apply(std::span<const HeadSelector::Choice> choices);
  kernels::KvSegment merged_tokens(const MergedTokens& merged, int64_t tokens) const;
  void keep(std::span<const HeadSelector::Choice> choices);

  AttentionSetup setup_;
  KvCache& cache_;
  HeadSelector selector_;
  StageTimes* times_ = nullptr;
  int scale_ = 0;
  std::vector<KeptTokens> kept_;  // [rows, kv_heads], filled anew for every layer; so is:
  std::vector<kernels::AttentionHead> heads_;
};

}  // namespace nextscale
