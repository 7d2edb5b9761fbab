// SPDX-License-Identifier: Apache-2.0
#include "blocks/transformer_block.h"

#include <algorithm>
#include <utility>

namespace nextscale {
namespace {

void add_gated(const Context& context, const BlockInput& input, int64_t width, const float* y,
               const float* gate, int64_t stride) {
  context.kernels->gated_add(context, {.x = input.x,
                                       .y = y,
                                       .gate = gate,
                                       .gate_stride = stride,
                                       .rows = input.rows,
                                       .tokens = input.tokens,
                                       .width = width});
}

}  // namespace

TransformerBlock::TransformerBlock(const BlockShape& shape, BlockWeights weights)
    : shape_(shape), weights_(std::move(weights)) {}

void TransformerBlock::prepare(int64_t num_tokens) {
  weights_.qkv->prepare(num_tokens);
  weights_.proj->prepare(num_tokens);
  weights_.fc1->prepare(num_tokens);
  weights_.fc2->prepare(num_tokens);
}

size_t TransformerBlock::scratch_bytes(const BlockShape& shape, int64_t num_tokens, DType kv_dtype,
                                       size_t attention_bytes) {
  const auto bytes = [&](int64_t features, DType dtype) {
    return Arena::rounded(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  const int64_t q_features = shape.query_heads * shape.head_dim;
  const int64_t kv_features = shape.kv_heads * shape.head_dim;
  const size_t normed = bytes(shape.width, shape.compute);
  const size_t heads = bytes(q_features, DType::kF32) + 2 * bytes(kv_features, kv_dtype);
  const size_t split = heads + std::max(normed + bytes(shape.qkv_features(), DType::kF32),
                                        attention_bytes + bytes(q_features, shape.compute));
  const size_t project = heads + bytes(q_features, shape.compute) + bytes(shape.width, DType::kF32);
  const size_t ffn =
      normed + bytes(shape.ffn_width, shape.compute) + bytes(shape.width, DType::kF32);
  return std::max({split, project, ffn});
}

void TransformerBlock::normalize(const Context& context, const BlockInput& input,
                                 const BranchModulation& branch, int64_t stride, void* out) const {
  context.kernels->layer_norm(context, {.x = input.x,
                                        .scale = branch.scale,
                                        .shift = branch.shift,
                                        .modulation_stride = stride,
                                        .rows = input.rows,
                                        .tokens = input.tokens,
                                        .width = shape_.width,
                                        .epsilon = shape_.norm_epsilon,
                                        .out = out,
                                        .out_dtype = shape_.compute});
}

void TransformerBlock::attention_branch(const Context& context, const BlockInput& input,
                                        const Modulation& modulation,
                                        CachedAttention& attention) const {
  const int64_t num_tokens = input.rows * input.tokens;
  const DType kv_dtype = attention.kv_dtype();
  Arena& scratch = *context.scratch;
  const ArenaScope branch_scope(scratch);
  const auto take = [&](int64_t features, DType dtype) {
    return scratch.take_bytes(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  const int64_t q_features = shape_.query_heads * shape_.head_dim;
  const int64_t kv_features = shape_.kv_heads * shape_.head_dim;
  auto* q = static_cast<float*>(take(q_features, DType::kF32));
  void* k = take(kv_features, kv_dtype);
  void* v = take(kv_features, kv_dtype);
  {
    const ArenaScope scope(scratch);
    void* normed = take(shape_.width, shape_.compute);
    auto* qkv = static_cast<float*>(take(shape_.qkv_features(), DType::kF32));
    normalize(context, input, modulation.attention, modulation.stride, normed);
    weights_.qkv->run(context, normed, qkv, num_tokens);
    context.kernels->split_heads(context, {.qkv = qkv,
                                           .head_scale = weights_.head_scale.data(),
                                           .normalize = shape_.normalize_qk,
                                           .rows = input.rows,
                                           .tokens = input.tokens,
                                           .query_heads = shape_.query_heads,
                                           .kv_heads = shape_.kv_heads,
                                           .head_dim = shape_.head_dim,
                                           .q = q,
                                           .k = k,
                                           .v = v,
                                           .kv_dtype = kv_dtype});
  }
  void* attended = take(q_features, shape_.compute);
  attention.run(context, input.layer, {.q = q, .k = k, .v = v},
                {.data = attended, .dtype = shape_.compute});
  auto* projected = static_cast<float*>(take(shape_.width, DType::kF32));
  weights_.proj->run(context, attended, projected, num_tokens);
  add_gated(context, input, shape_.width, projected, modulation.attention.gate, modulation.stride);
}

void TransformerBlock::ffn_branch(const Context& context, const BlockInput& input,
                                  const Modulation& modulation) const {
  const int64_t num_tokens = input.rows * input.tokens;
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const auto take = [&](int64_t features, DType dtype) {
    return scratch.take_bytes(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  void* normed = take(shape_.width, shape_.compute);
  void* hidden = take(shape_.ffn_width, shape_.compute);
  auto* y = static_cast<float*>(take(shape_.width, DType::kF32));
  normalize(context, input, modulation.ffn, modulation.stride, normed);
  weights_.fc1->run(context, normed, hidden, num_tokens);
  weights_.fc2->run(context, hidden, y, num_tokens);
  add_gated(context, input, shape_.width, y, modulation.ffn.gate, modulation.stride);
}

void TransformerBlock::forward(const Context& context, const BlockInput& input,
                               const Modulation& modulation, CachedAttention& attention) const {
  attention_branch(context, input, modulation, attention);
  ffn_branch(context, input, modulation);
}

}  // namespace nextscale
