// SPDX-License-Identifier: Apache-2.0
// The fast kernels of kernels.h for this machine, one file per operator, same names as in ref/.
// Products and convolutions are oneDNN primitives; the rest is Highway code, compiled for several
// instruction sets and chosen at run time. Private to src/kernels.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

std::unique_ptr<Linear> make_linear(const Context& context, const LinearSpec& spec,
                                    const LinearWeights& weights);
std::unique_ptr<Conv> make_conv(const Context& context, const ConvSpec& spec,
                                const ConstTensorView& weight, const ConstTensorView& bias);
size_t linear_bytes(const Context& context, const LinearSpec& spec);
size_t linear_scratch(const Context& context, const LinearSpec& spec, int64_t rows);
ConvBytes conv_bytes(const Context& context, const ConvSpec& spec, int64_t rows);

void stored_product(const Context& context, const StoredProductArgs& args);
void layer_norm(const Context& context, const LayerNormArgs& args);
void gated_add(const Context& context, const GatedAddArgs& args);
void split_heads(const Context& context, const SplitHeadsArgs& args);
void attention(const Context& context, const AttentionArgs& args);
size_t attention_scratch(const Context& context, const AttentionArgs& shape, int64_t max_keys);
void attention_profile(const Context& context, const AttentionProfileArgs& args);
size_t attention_profile_scratch(const Context& context, const AttentionArgs& shape,
                                 int64_t max_keys);
void rms_norm(const Context& context, const RmsNormArgs& args);
void relative_attention(const Context& context, const RelativeAttentionArgs& args);
size_t relative_attention_scratch(const Context& context, const RelativeAttentionArgs& shape,
                                  int64_t longest);
void column_statistics(const ColumnStatisticsArgs& args);
size_t column_statistics_workspace(int64_t candidates, int64_t observed, int64_t head_dim);
void value_lengths(const KvSegment& segment, int64_t head_dim, float* out);
void nearest(const NearestArgs& args);
size_t nearest_workspace(int64_t width);
void group_sums(const Context& context, const GroupSumsArgs& args);
void gather_rows(const Context& context, const GatherRowsArgs& args);
void resample(const Context& context, const ResampleArgs& args);
void silu(const Context& context, const float* x, void* out, DType out_dtype, int64_t count);
void add(const Context& context, float* x, const float* y, int64_t count);
void multiply(const Context& context, void* x, const void* y, DType dtype, int64_t count);
void blend(const Context& context, float a, const float* x, float b, const float* y, float* out,
           int64_t count);

}  // namespace nextscale::kernels::cpu
