// SPDX-License-Identifier: Apache-2.0
// The transformer block that every family is built from: norm, modulation, attention over the
// cache, attention to a context such as a text, feed-forward. Families differ in options (specs:
// the block's option table); a new option is added here, never as a second block.
//
// Owns its packed weights. forward() takes temporaries from context.scratch and allocates nothing;
// one thread calls it at a time.
#pragma once

#include <memory>
#include <span>
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
  bool normalize_qk = false;  // cosine attention: unit q and k, q times its head's scale
  bool attends_context = false;
  DType compute = DType::kF32;  // of the products: f32, bf16 or i8

  DType activation() const { return kernels::activation_type(compute); }
  int64_t qkv_features() const { return (query_heads + 2 * kv_heads) * head_dim; }
};

struct BlockWeights {
  std::unique_ptr<kernels::Linear> qkv;   // [qkv_features, width]: q, k, v in order; f32 out
  std::unique_ptr<kernels::Linear> proj;  // [width, width], f32 out
  std::unique_ptr<kernels::Linear> fc1;   // [ffn_width, width] with activation, activation-type out
  std::unique_ptr<kernels::Linear> fc2;   // [width, ffn_width], f32 out
  std::vector<float> head_scale;          // [query_heads], only with normalize_qk

  // Only with attends_context:
  std::unique_ptr<kernels::Linear> context_q{};     // [query_heads * head_dim, width]; f32 out
  std::unique_ptr<kernels::Linear> context_kv{};    // [2 kv_heads * head_dim, width]: k, v; f32 out
  std::unique_ptr<kernels::Linear> context_proj{};  // [width, query_heads * head_dim]; f32 out
  std::vector<float> context_norm_scale{};          // [width], less 1
  std::vector<float> context_norm_shift{};          // [width]
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

// A rotary embedding as a table: see kernels::SplitHeadsArgs. Null for none.
struct Rotation {
  const float* cosines = nullptr;  // [tokens, head_dim]
  const float* sines = nullptr;    // [tokens, head_dim]
};

struct BlockInput {
  float* x = nullptr;  // [rows, tokens, width], updated in place
  int64_t rows = 0;
  int64_t tokens = 0;
  int64_t layer = 0;
  Rotation rotation = {};  // of queries and keys, before they are cached
  // What each (row, kv head) attends in the context; only with attends_context.
  std::span<const kernels::AttentionHead> context = {};
};

// Several contexts, one behind the other.
struct PackedContext {
  const void* x = nullptr;                // [padded_tokens, width] in the activation type
  std::span<const int64_t> lengths = {};  // tokens of each
  int64_t padded_tokens = 0;              // at least their sum; prepared
};

class TransformerBlock {
 public:
  TransformerBlock(const BlockShape& shape, BlockWeights weights);

  // Readies forward() for rows * tokens = `num_tokens`.
  void prepare(int64_t num_tokens);

  // Readies project_context().
  void prepare_context(int64_t padded_tokens);
  // Keys and values of contexts in `dtype`: context after context [kv_heads, tokens, head_dim].
  void project_context(const Context& context, const PackedContext& packed, DType dtype, void* k,
                       void* v) const;

  // x += gate1 * attention(norm(x)); x += context attention(norm(x)), if it has one;
  // x += gate2 * ffn(norm(x)).
  void forward(const Context& context, const BlockInput& input, const Modulation& modulation,
               CachedAttention& attention) const;

  // What the packed weights of such a block take.
  static size_t weight_bytes(const Context& context, const BlockShape& shape);
  // Scratch memory that forward() takes, what attention itself takes included (the larger of the
  // two, if there is a context).
  static size_t scratch_bytes(const Context& context, const BlockShape& shape, int64_t num_tokens,
                              DType kv_dtype, size_t attention_bytes);
  // Scratch memory that project_context() takes.
  static size_t context_scratch_bytes(const Context& context, const BlockShape& shape,
                                      int64_t padded_tokens);

 private:
  void attention_branch(const Context& context, const BlockInput& input,
                        const Modulation& modulation, CachedAttention& attention) const;
  void context_branch(const Context& context, const BlockInput& input) const;
  void ffn_branch(const Context& context, const BlockInput& input,
                  const Modulation& modulation) const;
  void normalize(const Context& context, const BlockInput& input, const BranchModulation& branch,
                 int64_t stride, void* out) const;

  BlockShape shape_;
  BlockWeights weights_;
};

}  // namespace nextscale
