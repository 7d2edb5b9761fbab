// SPDX-License-Identifier: Apache-2.0
// What linear layers of `ref` and of `cpu` both start from: the bias, and the whole numbers of an
// i8 product before they are packed, as the file has them or rounded row by row. Owns its tensors.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels {

struct Int8Weights {
  Tensor values;   // [out, depth] i8, zeros behind the inputs
  Tensor factors;  // [out] f32
};

// `depth` is at least spec.in_features. Throws Error(kUnsupported) above kMaxInt8Inputs.
// Row `row` of any matrix as f32, as wide as the matrix.
void widen_row(const LinearWeights& weights, int64_t row, std::span<float> out);

// StoredProductArgs, given how to multiply two vectors of a length.
using Dot = float (*)(const float* x, const float* weights, int64_t count);
void stored_product(const Context& context, const StoredProductArgs& args, Dot dot);

Int8Weights int8_weights(const Context& context, const LinearSpec& spec,
                         const LinearWeights& weights, int64_t depth);

// [out] f32, zeros where there is none.
Tensor bias_values(const LinearSpec& spec, const LinearWeights& weights);

}  // namespace nextscale::kernels
