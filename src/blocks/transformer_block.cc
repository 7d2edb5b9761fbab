// SPDX-License-Identifier: Apache-2.0
#include "blocks/transformer_block.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/stage_times.h"

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

// Operations of a product.
double operations(int64_t tokens, int64_t in, int64_t out) {
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(in) * static_cast<double>(out);
}

kernels::LinearSpec product_spec(const BlockShape& shape, int64_t in, int64_t out) {
  return {.in_features = in, .out_features = out, .compute = shape.compute};
}

}  // namespace

TransformerBlock::TransformerBlock(const BlockShape& shape, BlockWeights weights)
    : shape_(shape), weights_(std::move(weights)) {}

void TransformerBlock::prepare(int64_t num_tokens) {
  weights_.qkv->prepare(num_tokens);
  weights_.proj->prepare(num_tokens);
  weights_.fc1->prepare(num_tokens);
  weights_.fc2->prepare(num_tokens);
  if (!shape_.attends_context) return;
  weights_.context_q->prepare(num_tokens);
  weights_.context_proj->prepare(num_tokens);
}

void TransformerBlock::prepare_context(int64_t padded_tokens) {
  weights_.context_kv->prepare(padded_tokens);
}

size_t TransformerBlock::context_scratch_bytes(const Context& context, const BlockShape& shape,
                                               int64_t padded_tokens) {
  const int64_t features = 2 * shape.kv_heads * shape.head_dim;
  return Arena::rounded(static_cast<size_t>(padded_tokens * features) * sizeof(float)) +
         context.kernels->linear_scratch(context, product_spec(shape, shape.width, features),
                                         padded_tokens);
}

void TransformerBlock::project_context(const Context& context, const PackedContext& packed,
                                       DType dtype, void* k, void* v) const {
  const ArenaScope scope(*context.scratch);
  const int64_t features = shape_.kv_heads * shape_.head_dim;
  float* kv =
      context.scratch->take<float>(static_cast<size_t>(packed.padded_tokens * 2 * features)).data();
  weights_.context_kv->run(context, packed.x, kv, packed.padded_tokens);
  int64_t first = 0;
  for (const int64_t tokens : packed.lengths) {
    const size_t offset = static_cast<size_t>(first * features) * dtype_bytes(dtype);
    context.kernels->split_heads(context, {.qkv = kv + first * 2 * features,
                                           .rows = 1,
                                           .tokens = tokens,
                                           .query_heads = 0,
                                           .kv_heads = shape_.kv_heads,
                                           .head_dim = shape_.head_dim,
                                           .k = static_cast<std::byte*>(k) + offset,
                                           .v = static_cast<std::byte*>(v) + offset,
                                           .kv_dtype = dtype});
    first += tokens;
  }
}

size_t TransformerBlock::weight_bytes(const Context& context, const BlockShape& shape) {
  const auto product = [&](int64_t in, int64_t out) {
    return context.kernels->linear_bytes(context, product_spec(shape, in, out));
  };
  const int64_t width = shape.width;
  const int64_t q_features = shape.query_heads * shape.head_dim;
  const int64_t kv_features = shape.kv_heads * shape.head_dim;
  const int64_t head_scales = shape.normalize_qk ? shape.query_heads : 0;
  const size_t own = product(width, shape.qkv_features()) + product(q_features, width) +
                     product(width, shape.ffn_width) + product(shape.ffn_width, width) +
                     static_cast<size_t>(head_scales) * sizeof(float);
  if (!shape.attends_context) return own;
  return own + product(width, q_features) + product(width, 2 * kv_features) +
         product(q_features, width) + static_cast<size_t>(2 * width) * sizeof(float);
}

size_t TransformerBlock::scratch_bytes(const Context& context, const BlockShape& shape,
                                       int64_t num_tokens, DType kv_dtype, size_t attention_bytes) {
  const auto bytes = [&](int64_t features, DType dtype) {
    return Arena::rounded(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  const auto product = [&](int64_t in, int64_t out) {
    return context.kernels->linear_scratch(context, product_spec(shape, in, out), num_tokens);
  };
  const int64_t q_features = shape.query_heads * shape.head_dim;
  const int64_t kv_features = shape.kv_heads * shape.head_dim;
  const size_t normed = bytes(shape.width, shape.activation());
  const size_t attended = bytes(q_features, shape.activation());
  const size_t projected = bytes(shape.width, DType::kF32) + product(q_features, shape.width);
  const size_t heads = bytes(q_features, DType::kF32) + 2 * bytes(kv_features, kv_dtype);
  const size_t qkv =
      bytes(shape.qkv_features(), DType::kF32) + product(shape.width, shape.qkv_features());
  const size_t attention =
      heads + std::max({normed + qkv, attended + attention_bytes, attended + projected});
  const size_t ffn =
      normed + bytes(shape.ffn_width, shape.activation()) + bytes(shape.width, DType::kF32) +
      std::max(product(shape.width, shape.ffn_width), product(shape.ffn_width, shape.width));
  if (!shape.attends_context) return std::max(attention, ffn);
  const size_t q = bytes(q_features, DType::kF32);
  const size_t cross = q + std::max({normed + q + product(shape.width, q_features),
                                     attended + attention_bytes, attended + projected});
  return std::max({attention, ffn, cross});
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
                                        .out_dtype = shape_.activation()});
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
  StageClock clock(context.stages);
  auto* q = static_cast<float*>(take(q_features, DType::kF32));
  void* k = take(kv_features, kv_dtype);
  void* v = take(kv_features, kv_dtype);
  {
    const ArenaScope scope(scratch);
    void* normed = take(shape_.width, shape_.activation());
    auto* qkv = static_cast<float*>(take(shape_.qkv_features(), DType::kF32));
    normalize(context, input, modulation.attention, modulation.stride, normed);
    clock.lap(Stage::kNorms);
    weights_.qkv->run(context, normed, qkv, num_tokens);
    clock.lap(Stage::kProjections, operations(num_tokens, shape_.width, shape_.qkv_features()));
    context.kernels->split_heads(context, {.qkv = qkv,
                                           .head_scale = weights_.head_scale.data(),
                                           .normalize = shape_.normalize_qk,
                                           .cosines = input.rotation.cosines,
                                           .sines = input.rotation.sines,
                                           .rows = input.rows,
                                           .tokens = input.tokens,
                                           .query_heads = shape_.query_heads,
                                           .kv_heads = shape_.kv_heads,
                                           .head_dim = shape_.head_dim,
                                           .q = q,
                                           .k = k,
                                           .v = v,
                                           .kv_dtype = kv_dtype});
    clock.lap(Stage::kHeads);
  }
  void* attended = take(q_features, shape_.activation());
  attention.run(context, input.layer, {.q = q, .k = k, .v = v},
                {.data = attended, .dtype = shape_.activation()});
  clock.skip();  // attention books its own time
  auto* projected = static_cast<float*>(take(shape_.width, DType::kF32));
  weights_.proj->run(context, attended, projected, num_tokens);
  clock.lap(Stage::kProjections, operations(num_tokens, q_features, shape_.width));
  add_gated(context, input, shape_.width, projected, modulation.attention.gate, modulation.stride);
  clock.lap(Stage::kNorms);
}

void TransformerBlock::context_branch(const Context& context, const BlockInput& input) const {
  const int64_t num_tokens = input.rows * input.tokens;
  Arena& scratch = *context.scratch;
  const ArenaScope branch_scope(scratch);
  const auto take = [&](int64_t features, DType dtype) {
    return scratch.take_bytes(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  const int64_t q_features = shape_.query_heads * shape_.head_dim;
  StageClock clock(context.stages);
  auto* q = static_cast<float*>(take(q_features, DType::kF32));
  {
    const ArenaScope scope(scratch);
    void* normed = take(shape_.width, shape_.activation());
    auto* flat = static_cast<float*>(take(q_features, DType::kF32));
    // The same affine norm for every row.
    normalize(
        context, input,
        {.scale = weights_.context_norm_scale.data(), .shift = weights_.context_norm_shift.data()},
        0, normed);
    clock.lap(Stage::kNorms);
    weights_.context_q->run(context, normed, flat, num_tokens);
    clock.lap(Stage::kProjections, operations(num_tokens, shape_.width, q_features));
    context.kernels->split_heads(context, {.qkv = flat,
                                           .rows = input.rows,
                                           .tokens = input.tokens,
                                           .query_heads = shape_.query_heads,
                                           .kv_heads = 0,
                                           .head_dim = shape_.head_dim,
                                           .q = q});
    clock.lap(Stage::kHeads);
  }
  void* attended = take(q_features, shape_.activation());
  const auto head_dim = static_cast<double>(shape_.head_dim);
  const kernels::AttentionArgs args{.rows = input.rows,
                                    .query_heads = shape_.query_heads,
                                    .kv_heads = shape_.kv_heads,
                                    .queries = input.tokens,
                                    .head_dim = shape_.head_dim,
                                    .softmax_scale = static_cast<float>(1.0 / std::sqrt(head_dim)),
                                    .q = q,
                                    .heads = input.context,
                                    .out = attended,
                                    .out_dtype = shape_.activation()};
  context.kernels->attention(context, args);
  clock.lap(Stage::kAttention, args.operations());
  auto* projected = static_cast<float*>(take(shape_.width, DType::kF32));
  weights_.context_proj->run(context, attended, projected, num_tokens);
  clock.lap(Stage::kProjections, operations(num_tokens, q_features, shape_.width));
  context.kernels->add(context, input.x, projected, num_tokens * shape_.width);
  clock.lap(Stage::kNorms);
}

void TransformerBlock::ffn_branch(const Context& context, const BlockInput& input,
                                  const Modulation& modulation) const {
  const int64_t num_tokens = input.rows * input.tokens;
  Arena& scratch = *context.scratch;
  const ArenaScope scope(scratch);
  const auto take = [&](int64_t features, DType dtype) {
    return scratch.take_bytes(static_cast<size_t>(num_tokens * features) * dtype_bytes(dtype));
  };
  StageClock clock(context.stages);
  void* normed = take(shape_.width, shape_.activation());
  void* hidden = take(shape_.ffn_width, shape_.activation());
  auto* y = static_cast<float*>(take(shape_.width, DType::kF32));
  normalize(context, input, modulation.ffn, modulation.stride, normed);
  clock.lap(Stage::kNorms);
  weights_.fc1->run(context, normed, hidden, num_tokens);
  weights_.fc2->run(context, hidden, y, num_tokens);
  clock.lap(Stage::kFfn, 2.0 * operations(num_tokens, shape_.width, shape_.ffn_width));
  add_gated(context, input, shape_.width, y, modulation.ffn.gate, modulation.stride);
  clock.lap(Stage::kNorms);
}

void TransformerBlock::forward(const Context& context, const BlockInput& input,
                               const Modulation& modulation, CachedAttention& attention) const {
  attention_branch(context, input, modulation, attention);
  if (shape_.attends_context) context_branch(context, input);
  ffn_branch(context, input, modulation);
}

}  // namespace nextscale
