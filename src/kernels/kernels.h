// SPDX-License-Identifier: Apache-2.0
// Every operator of the engine: its contract, and the table that holds one implementation of each.
//
// `ref` states each formula as plainly as possible and judges the others; `cpu` is fast (oneDNN for
// products and convolutions, Highway for the rest) and falls back to the `ref` row where the
// machine lacks what it needs. Files carry the same name in both folders.
//
// Pointers are row-major, contiguous, 64-byte aligned unless said; shapes were checked by the
// caller. Nothing here allocates except make_linear, make_conv and their prepare(). Results do not
// depend on the number of threads, and a row's result does not depend on how many rows come with
// it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/context.h"
#include "core/tensor.h"

namespace nextscale::kernels {

enum class Activation { kNone, kGeluTanh };

// ---- Products ---------------------------------------------------------------------------------

struct LinearSpec {
  int64_t in_features = 0;
  int64_t out_features = 0;
  DType compute = DType::kF32;  // f32, bf16 or i8: type of the packed weights
  DType output = DType::kF32;   // f32 or bf16
  Activation activation = Activation::kNone;
};

// The type of a product's x, and of what is made for it: an i8 product rounds bf16 to eight bits
// itself, with a factor for each row.
constexpr DType activation_type(DType compute) {
  return compute == DType::kI8 ? DType::kBF16 : compute;
}

// What a linear layer is made of. Borrowed; copied (packed) before make_linear returns.
struct LinearWeights {
  ConstTensorView matrix;            // [out, in] f32, bf16 or f16; for i8 products also i8
  ConstTensorView bias = {};         // [out] f32, bf16 or f16; empty for none
  ConstTensorView row_factors = {};  // [out] f32, of an i8 matrix (core/int8_row.h)
};

// y = activation(x W^T + b), accumulated in f32. An i8 product is
// activation(x_factor * w_factor * sum + b): the rows of x and of W are rounded as int8_row.h says,
// so the sum of their products is a whole number and exact. Owns W in packed form. Works on the
// threads of the context it was made with. Not thread safe: one run() at a time.
class Linear {
 public:
  virtual ~Linear() = default;
  // Readies run() for this number of rows. May allocate; cheap when repeated.
  virtual void prepare(int64_t rows) = 0;
  // x [rows, in] of activation_type(compute), y [rows, out]; `rows` must have been prepared.
  // Takes linear_scratch() from context.scratch.
  virtual void run(const Context& context, const void* x, void* y, int64_t rows) const = 0;
  // All that this layer holds; the largest prepared number of rows may add some 10 KiB per thread.
  virtual size_t packed_bytes() const = 0;
};

// Throws Error(kUnsupported) for i8 products of more than kMaxInt8Inputs.
using MakeLinear = std::unique_ptr<Linear> (*)(const Context&, const LinearSpec&,
                                               const LinearWeights&);

// So many products of eight-bit numbers add up without leaving 32 bits.
inline constexpr int64_t kMaxInt8Inputs = 131072;

// y = x W^T + b in f32, where W lies as its file has it: for layers that a generation runs once,
// which packing would cost more than it saves. W is rounded to `compute` on the way, so that a
// folder converted to that type gives the same. A row's result does not depend on the other rows.
struct StoredProductArgs {
  const float* x = nullptr;  // [rows, in]
  int64_t rows = 0;
  LinearWeights weights = {};   // their matrix, any type, and its row_factors if it is i8
  const float* bias = nullptr;  // [out]
  DType compute = DType::kF32;  // f32, bf16 or i8
  float* y = nullptr;           // [rows, out]
};

// Scratch bytes that stored_product() takes from context.scratch for a matrix [out, in].
size_t stored_product_scratch(const Context& context, int64_t in);

struct ConvSpec {
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t kernel = 3;  // 1 or 3, square, stride 1
  int64_t width = 0;   // pixels of a row
};

// Strips begin at multiples of this many rows of the picture: the fast form computes so many at
// once.
inline constexpr int64_t kConvRowAlignment = 4;

// Convolution of a strip of rows, channels last, f32. Rows above and below are part of the input
// (the caller puts zeros there at the border of the picture); columns are zero-padded inside. Works
// on the threads of the context it was made with. Not thread safe: one run() at a time.
class Conv {
 public:
  virtual ~Conv() = default;
  virtual void prepare(int64_t rows) = 0;
  // x [rows + kernel - 1, width, in_channels], y [rows, width, out_channels].
  virtual void run(const Context& context, const float* x, float* y, int64_t rows) const = 0;
  virtual size_t packed_bytes() const = 0;
  // Scratch memory that run() takes from context.scratch for this many rows.
  virtual size_t scratch_bytes(int64_t rows) const = 0;
};

// weight [out, in, kernel, kernel], bias [out]; any float type; both are copied (packed).
using MakeConv = std::unique_ptr<Conv> (*)(const Context&, const ConvSpec&,
                                           const ConstTensorView& weight,
                                           const ConstTensorView& bias);

// What a convolution takes: held by the object, and from context.scratch while it runs.
struct ConvBytes {
  size_t packed = 0;
  size_t scratch = 0;
};

// ---- Transformer ------------------------------------------------------------------------------

// out = LN(x) * (1 + scale) + shift; LN without affine parameters, biased variance.
struct LayerNormArgs {
  const float* x = nullptr;       // [rows, tokens, width]
  const float* scale = nullptr;   // [rows, row_stride] read at [row, 0..width)
  const float* shift = nullptr;   // [rows, row_stride]
  int64_t modulation_stride = 0;  // floats from one row of scale and shift to the next
  int64_t rows = 0;
  int64_t tokens = 0;
  int64_t width = 0;
  float epsilon = 1e-6F;
  void* out = nullptr;  // [rows, tokens, width]
  DType out_dtype = DType::kF32;
};

// x += gate * y, gate per (row, feature).
struct GatedAddArgs {
  float* x = nullptr;           // [rows, tokens, width]
  const float* y = nullptr;     // [rows, tokens, width]
  const float* gate = nullptr;  // [rows, gate_stride] read at [row, 0..width)
  int64_t gate_stride = 0;
  int64_t rows = 0;
  int64_t tokens = 0;
  int64_t width = 0;
};

// Splits a fused qkv projection into heads; with `normalize`, q and k are divided by
// max(their length, 1e-12) per head and q is then multiplied by head_scale. With a rotation,
// element i of q and k at a token then becomes x[i] * cosines[i] + x[i ^ 1] * sines[i]:
// neighbouring channels turn together, where the sines of even channels carry the minus.
struct SplitHeadsArgs {
  const float* qkv =
      nullptr;  // [rows, tokens, query_heads + 2 kv_heads, head_dim]: q, k, v in order
  const float* head_scale = nullptr;  // [query_heads]; only read with `normalize`
  bool normalize = false;
  const float* cosines = nullptr;  // [tokens, head_dim]; null: no rotation
  const float* sines = nullptr;    // [tokens, head_dim]
  int64_t rows = 0;
  int64_t tokens = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  float* q = nullptr;            // [rows, query_heads, tokens, head_dim]
  void* k = nullptr;             // [rows, kv_heads, tokens, head_dim]
  void* v = nullptr;             // as k
  DType kv_dtype = DType::kF32;  // f32 or bf16
};

// Keys and values of consecutive tokens of one head. An int8 row is multiplied by its factor.
struct KvSegment {
  const void* k = nullptr;  // [tokens, head_dim]
  const void* v = nullptr;  // [tokens, head_dim]
  int64_t tokens = 0;
  DType dtype = DType::kF32;         // f32, bf16 or i8
  const float* k_factors = nullptr;  // [tokens] with i8
  const float* v_factors = nullptr;  // [tokens] with i8
};

// What one (row, kv head) attends: its cache followed by the current scale, or those of their
// positions that `attend` lists in ascending order.
struct AttentionHead {
  KvSegment cached;
  KvSegment current;
  const int32_t* attend = nullptr;  // null: all
  int64_t num_attend = 0;
  // [num_keys()] added to the scaled product of each attended key, for keys that stand for several;
  // null: nothing.
  const float* bias = nullptr;

  int64_t num_keys() const {
    return attend != nullptr ? num_attend : cached.tokens + current.tokens;
  }
};

// out = softmax(softmax_scale * q k^T + bias) v, no mask. Query heads are grouped onto kv heads in
// order (query head / (query_heads / kv_heads)). Keys of different heads may differ in number.
struct AttentionArgs {
  int64_t rows = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t queries = 0;
  int64_t head_dim = 0;
  float softmax_scale = 1.0F;
  const float* q = nullptr;                   // [rows, query_heads, queries, head_dim]
  std::span<const AttentionHead> heads = {};  // [rows, kv_heads]
  void* out = nullptr;                        // [rows, queries, query_heads * head_dim]
  DType out_dtype = DType::kF32;

  // Multiplications and additions of both products.
  double operations() const {
    double keys = 0;
    for (const AttentionHead& head : heads) keys += static_cast<double>(head.num_keys());
    const int64_t per_key = 4 * query_heads / kv_heads * queries * head_dim;
    return keys * static_cast<double>(per_key);
  }
};

// Scratch bytes that attention() takes from context.scratch when no head has more than max_keys.
using AttentionScratch = size_t (*)(const Context&, const AttentionArgs& shape, int64_t max_keys);

// Limits of attention_profile().
inline constexpr int64_t kMaxProfileScales = 64;
inline constexpr int64_t kMaxProfileTop = 256;

// How the attention A of each query head is spread over its keys, as calibration measures it. Sums
// are in double precision and depend on the head's own row alone.
struct AttentionProfileArgs {
  // Its `out` is not touched. All heads have the same number of keys and no lists.
  const AttentionArgs* attention = nullptr;
  // Keys up to the end of each source scale, ascending; the current scale is the last.
  std::span<const int64_t> scale_ends = {};
  int64_t num_top = 1;     // how many of a query's largest weights `top` adds up
  double* mass = nullptr;  // [rows, query_heads, scales] mean over queries of sum_{j in scale} A_ij
  double* top = nullptr;   // [rows, query_heads] mean over queries of the sum of the num_top
                           // largest A_ij of earlier scales; 0 if there are none
  double* variance = nullptr;  // [rows, query_heads] sum_j Var_i A_ij, divisor queries; or null
};

// ---- Text encoders ------------------------------------------------------------------------------

// out = x / sqrt(mean(x^2) + epsilon) * weight, per token.
struct RmsNormArgs {
  const float* x = nullptr;       // [tokens, width]
  const float* weight = nullptr;  // [width]
  int64_t tokens = 0;
  int64_t width = 0;
  float epsilon = 1e-6F;
  void* out = nullptr;  // [tokens, width]
  DType out_dtype = DType::kF32;
};

// Attention within each of several sequences that lie one after the other:
// out = softmax(q k^T + bias) v, the bias depending on the head and on how far the key lies from
// the query. Nothing is divided by sqrt(head_dim). A sequence's result does not depend on the
// others.
struct RelativeAttentionArgs {
  std::span<const int64_t> starts = {};  // first token of each sequence, then the end of the last
  int64_t heads = 0;
  int64_t head_dim = 0;
  const float* q = nullptr;     // [tokens, heads, head_dim]
  const float* k = nullptr;     // as q
  const float* v = nullptr;     // as q
  const float* bias = nullptr;  // [heads, 2 reach + 1] read at [head, reach + key - query]
  int64_t reach = 0;            // at least the length of the longest sequence - 1
  void* out = nullptr;          // as q
  DType out_dtype = DType::kF32;
};

// Scratch bytes that relative_attention() takes from context.scratch if no sequence has more than
// `longest` tokens; of the arguments only head_dim is read.
using RelativeAttentionScratch = size_t (*)(const Context&, const RelativeAttentionArgs& shape,
                                            int64_t longest);

// ---- What cache policies ask of a head's candidates ---------------------------------------------
//
// For one (row, kv head) at a time, on the calling thread: several may run side by side, each in a
// workspace of its own (64-byte aligned, of the size that the function beside it says).

// Statistics over the columns of A = softmax(softmax_scale * q k^T), whose rows are some queries of
// the current scale and whose columns are the candidates, cached ones first. Means over the query
// heads of the group. Without `softmax` A are the logits, of which only sums can be asked for.
struct ColumnStatisticsArgs {
  const float* q = nullptr;  // [group, queries, head_dim]
  int64_t group = 1;
  int64_t queries = 0;
  std::span<const int32_t> observed = {};  // [n] which of the queries, ascending
  int64_t head_dim = 0;
  float softmax_scale = 1.0F;
  bool softmax = true;
  KvSegment cached = {};
  KvSegment current = {};
  float* sums = nullptr;       // [candidates] sum_i A[i, j]
  float* variances = nullptr;  // [candidates] over i, divisor n - 1 (0 if n = 1); null: not wanted
  float* entropies = nullptr;  // [candidates] -sum_i A[i, j] ln A[i, j]; null: not wanted
  std::span<std::byte> workspace = {};

  int64_t candidates() const { return cached.tokens + current.tokens; }
};

// For every row of x, which row of `targets` has the largest dot product with it, the first of
// several.
struct NearestArgs {
  const float* x = nullptr;  // [count, width]
  int64_t count = 0;
  const float* targets = nullptr;  // [num_targets, width]
  int64_t num_targets = 0;
  int64_t width = 0;
  int32_t* nearest = nullptr;  // [count]
  float* products = nullptr;   // [count]
  std::span<std::byte> workspace = {};
};

// ---- Decoder, channels last ---------------------------------------------------------------------

// Most groups of channels that a normalisation has.
inline constexpr int64_t kMaxGroups = 64;

// Sums over the elements of each group of consecutive channels; in double precision, so that
// subtracting the squared mean afterwards costs nothing that f32 results would show.
struct GroupSums {
  std::array<double, kMaxGroups> values{};
  std::array<double, kMaxGroups> squares{};
};

// Adds rows of a picture to the sums, one row after the other: the result does not depend on how
// the picture is cut into strips.
struct GroupSumsArgs {
  const float* x = nullptr;  // [rows, width, channels]
  int64_t rows = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t groups = 32;
  GroupSums* sums = nullptr;
};

// mean and 1 / sqrt(variance + epsilon) of each group of `elements` elements; biased variance.
inline void group_moments(const GroupSums& sums, int64_t groups, int64_t elements, float epsilon,
                          float* mean, float* inverse) {
  const auto count = static_cast<double>(elements);
  for (int64_t group = 0; group < groups; ++group) {
    const auto at = static_cast<size_t>(group);
    const double average = sums.values[at] / count;
    const double variance = std::max(0.0, sums.squares[at] / count - average * average);
    mean[group] = static_cast<float>(average);
    inverse[group] = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(epsilon)));
  }
}

// Copies rows [first_row, first_row + rows) of a picture to `out`, optionally after
// nearest-neighbour doubling, group normalisation and SiLU. Rows outside the picture become zeros.
// All row and column numbers are those after doubling.
struct GatherRowsArgs {
  const float* x = nullptr;  // [height, width, channels], before doubling, or some rows of it:
  int64_t first_held = 0;    // the row that x begins with
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  bool doubled = false;
  int64_t first_row = 0;  // may be negative
  int64_t rows = 0;
  const float* mean = nullptr;     // [groups]; null: no normalisation
  const float* inverse = nullptr;  // [groups]
  const float* weight = nullptr;   // [channels], used with mean
  const float* bias = nullptr;     // [channels], used with mean
  int64_t groups = 32;
  bool silu = false;     // after the normalisation
  float* out = nullptr;  // [rows, width (doubled), channels]
};

// ---- Between scales -----------------------------------------------------------------------------

// out[H, W, c] = sum_{h, w} rows[H, h] * columns[W, w] * x[h, w, c]: every separable resampling.
struct ResampleArgs {
  const float* x = nullptr;        // [in_height, in_width, channels]
  const float* rows = nullptr;     // [out_height, in_height]
  const float* columns = nullptr;  // [out_width, in_width]
  int64_t in_height = 0;
  int64_t in_width = 0;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t channels = 0;
  float* scratch = nullptr;  // [out_height, in_width, channels]
  float* out = nullptr;      // [out_height, out_width, channels]
};

// ---- The table
// ------------------------------------------------------------------------------------

struct KernelTable {
  std::string_view name;
  MakeLinear make_linear;
  MakeConv make_conv;
  // What such an operator will take, for plans: as packed_bytes() and scratch_bytes() report it.
  size_t (*linear_bytes)(const Context&, const LinearSpec&);
  // Scratch memory that a linear layer takes from context.scratch for this many rows.
  size_t (*linear_scratch)(const Context&, const LinearSpec&, int64_t rows);
  ConvBytes (*conv_bytes)(const Context&, const ConvSpec&, int64_t rows);
  void (*stored_product)(const Context&, const StoredProductArgs&);
  void (*layer_norm)(const Context&, const LayerNormArgs&);
  void (*gated_add)(const Context&, const GatedAddArgs&);
  void (*split_heads)(const Context&, const SplitHeadsArgs&);
  void (*attention)(const Context&, const AttentionArgs&);
  AttentionScratch attention_scratch;
  void (*attention_profile)(const Context&, const AttentionProfileArgs&);
  // What attention_profile() takes from context.scratch.
  AttentionScratch attention_profile_scratch;
  void (*rms_norm)(const Context&, const RmsNormArgs&);
  void (*relative_attention)(const Context&, const RelativeAttentionArgs&);
  RelativeAttentionScratch relative_attention_scratch;
  void (*column_statistics)(const ColumnStatisticsArgs&);
  size_t (*column_statistics_workspace)(int64_t candidates, int64_t observed, int64_t head_dim);
  // out[i] = length of the value of token i.
  void (*value_lengths)(const KvSegment&, int64_t head_dim, float* out);
  void (*nearest)(const NearestArgs&);
  size_t (*nearest_workspace)(int64_t width);
  void (*group_sums)(const Context&, const GroupSumsArgs&);
  void (*gather_rows)(const Context&, const GatherRowsArgs&);
  void (*resample)(const Context&, const ResampleArgs&);
  // out[i] = x[i] / (1 + exp(-x[i])), to f32 or bf16.
  void (*silu)(const Context&, const float* x, void* out, DType out_dtype, int64_t count);
  // x[i] += y[i].
  void (*add)(const Context&, float* x, const float* y, int64_t count);
  // x[i] *= y[i], both f32 or both bf16.
  void (*multiply)(const Context&, void* x, const void* y, DType dtype, int64_t count);
  // out[i] = a * x[i] + b * y[i]; guidance (1 + t, -t) and the phi blend (0.5, 0.5).
  void (*blend)(const Context&, float a, const float* x, float b, const float* y, float* out,
                int64_t count);
};

// The plain formulas, single file per operator.
const KernelTable& ref_table();

// The fast ones for this machine.
const KernelTable& cpu_table();

// True if this machine has bf16 dot products, so that bf16 weights are the faster choice.
bool has_fast_bf16();

}  // namespace nextscale::kernels
