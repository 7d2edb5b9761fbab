// SPDX-License-Identifier: Apache-2.0
#include "attention/cached_attention.h"

#include "attention/trace_attention.h"
#include "core/trace.h"

namespace nextscale {
namespace {

kernels::AttentionArgs attention_shape(const Geometry& geometry, int64_t rows, DType kv_dtype,
                                       int scale) {
  kernels::AttentionArgs args;
  args.rows = rows;
  args.query_heads = geometry.query_heads;
  args.kv_heads = geometry.kv_heads;
  args.queries = geometry.tokens(scale);
  args.head_dim = geometry.head_dim;
  args.kv_dtype = kv_dtype;
  return args;
}

}  // namespace

CachedAttention::CachedAttention(const Geometry& geometry, int64_t rows, DType kv_dtype,
                                 float softmax_scale, KvCache& cache)
    : geometry_(geometry),
      rows_(rows),
      kv_dtype_(kv_dtype),
      softmax_scale_(softmax_scale),
      cache_(cache),
      heads_(static_cast<size_t>(rows * geometry.kv_heads)) {}

size_t CachedAttention::scratch_bytes(const Context& context, const Geometry& geometry,
                                      int64_t rows, DType kv_dtype) {
  const int last = geometry.num_scales() - 1;
  return context.kernels->attention_scratch(
      context, attention_shape(geometry, rows, kv_dtype, last), geometry.tokens_through(last));
}

void CachedAttention::run(const Context& context, int64_t layer, const LayerQkv& qkv,
                          const AttentionOutput& output) {
  const int64_t tokens = geometry_.tokens(scale_);
  const size_t head_bytes =
      static_cast<size_t>(tokens * geometry_.head_dim) * dtype_bytes(kv_dtype_);
  for (size_t list = 0; list < heads_.size(); ++list) {
    const auto row = static_cast<int64_t>(list) / geometry_.kv_heads;
    const auto head = static_cast<int64_t>(list) % geometry_.kv_heads;
    heads_[list].cached = cache_.segment(layer, row, head);
    heads_[list].current = {.k = static_cast<const std::byte*>(qkv.k) + list * head_bytes,
                            .v = static_cast<const std::byte*>(qkv.v) + list * head_bytes,
                            .tokens = tokens};
  }
  kernels::AttentionArgs args = attention_shape(geometry_, rows_, kv_dtype_, scale_);
  args.softmax_scale = softmax_scale_;
  args.heads = heads_;
  args.q = qkv.q;
  args.out = output.data;
  args.out_dtype = output.dtype;
  context.kernels->attention(context, args);
  if (context.trace != nullptr && context.trace->wants_attention()) {
    trace_attention(*context.trace, args, scale_, layer, is_last_scale());
  }
  if (!is_last_scale()) cache_.append(layer, qkv.k, qkv.v, tokens, scale_);
}

}  // namespace nextscale
