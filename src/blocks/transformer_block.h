// SPDX-License-Identifier: Apache-2.0
// The transformer block that every family is built from: norm, modulation, attention over the
// cache, feed-forward. Families differ in options (specs: the block's option table); a new option
// is added here, never as a second block.
//
// Owns its packed weights. forward() takes temporaries from context.scratch and allocates nothing;
// one thread calls it at a time.
#pragma once

#include <memory>
#include <vector>

#include "attention/cached_attention.h"
#include "core/context.h"
#include "kernels/kernels.h"

namespace nextscale {

struct BlockShape {
  int64_t width = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn_width = 0;
  float norm_epsilon = 1e-6F;
  bool normalize_qk = false;    // cosine attention: unit q and k, q times its head's scale
  DType compute = DType::kF32;  // of the products: f32 or bf16

  int64_t qkv_features() const { return (query_heads + 2 * kv_heads) * head_dim; }
};

struct BlockWeights {
  std::unique_ptr<kernels::Linear> qkv;   // [qkv_features, width]: q, k, v in order; f32 out
  std::unique_ptr<kernels::Linear> proj;  // [width, width], f32 out
  std::unique_ptr<kernels::Linear> fc1;   // [ffn_width, width] with activation, compute-type out
  std::unique_ptr<kernels::Linear> fc2;   // [width, ffn_width], f32 out
  std::vector<float> head_scale;          // [query_heads], only with normalize_qk
};

// Adaptive norm vectors of one branch, each [rows, stride] read at [row, 0..width).
struct BranchModulation {
  const float* gate = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
};

struct Modulation {
  BranchModulation attention;
  BranchModulation ffn;
  int64_t stride = 0;
};

struct BlockInput {
  float* x = nullptr;  // [rows, tokens, width], updated in place
  int64_t rows = 0;
  int64_t tokens = 0;
  int64_t layer = 0;
};

class TransformerBlock {
 public:
  TransformerBlock(const BlockShape& shape, BlockWeights weights);

  // Readies forward() for rows * tokens = `num_tokens`.
  void prepare(int64_t num_tokens);

  // x += gate1 * attention(norm(x)); x += gate2 * ffn(norm(x)).
  void forward(const Context& context, const BlockInput& input, const Modulation& modulation,
               CachedAttention& attention) const;

  // Scratch memory that forward() takes, what attention itself takes included.
  static size_t scratch_bytes(const BlockShape& shape, int64_t num_tokens, DType kv_dtype,
                              size_t attention_bytes);

 private:
  void attention_branch(const Context& context, const BlockInput& input,
                        const Modulation& modulation, CachedAttention& attention) const;
  void ffn_branch(const Context& context, const BlockInput& input,
                  const Modulation& modulation) const;
  void normalize(const Context& context, const BlockInput& input, const BranchModulation& branch,
                 int64_t stride, void* out) const;

  BlockShape shape_;
  BlockWeights weights_;
};

}  // namespace nextscale
