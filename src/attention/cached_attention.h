// SPDX-License-Identifier: Apache-2.0
// Attention of the current scale over what the cache holds: the seam between blocks, which know
// nothing of policies, and policies, which know nothing of tensors.
//
// One object serves one generation. It borrows the cache, which must outlive it.
#pragma once

#include <vector>

#include "cache/kv_cache.h"
#include "core/context.h"
#include "core/geometry.h"
#include "kernels/kernels.h"

namespace nextscale {

// The projections of one layer at the current scale.
struct LayerQkv {
  const float* q = nullptr;  // [rows, query_heads, tokens, head_dim]
  const void* k = nullptr;   // [rows, kv_heads, tokens, head_dim], dtype of the cache
  const void* v = nullptr;   // as k
};

struct AttentionOutput {
  void* data = nullptr;  // [rows, tokens, query_heads * head_dim]
  DType dtype = DType::kF32;
};

class CachedAttention {
 public:
  CachedAttention(const Geometry& geometry, int64_t rows, DType kv_dtype, float softmax_scale,
                  KvCache& cache);

  void begin_scale(int scale) { scale_ = scale; }

  // Attends, then keeps the layer's keys and values for later steps. Takes scratch_bytes() from
  // context.scratch while it runs. Allocates nothing.
  void run(const Context& context, int64_t layer, const LayerQkv& qkv,
           const AttentionOutput& output);

  // The most scratch memory that run() takes in any step of such a generation.
  static size_t scratch_bytes(const Context& context, const Geometry& geometry, int64_t rows,
                              DType kv_dtype);

  DType kv_dtype() const { return kv_dtype_; }
  int64_t rows() const { return rows_; }

 private:
  bool is_last_scale() const { return scale_ + 1 == geometry_.num_scales(); }

  Geometry geometry_;
  int64_t rows_;
  DType kv_dtype_;
  float softmax_scale_;
  KvCache& cache_;
  int scale_ = 0;
  std::vector<kernels::AttentionHead> heads_;  // [rows, kv_heads], filled anew for every layer
};

}  // namespace nextscale
