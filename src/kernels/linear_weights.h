// SPDX-License-Identifier: Apache-2.0
// What linear layers of `ref` and of `cpu` both start from: the bias, the whole numbers of an i8
// product before they are packed, as the file has them or rounded row by row, and the walk over the
// rows of a matrix that is not packed.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels {

struct Int8Weights {
  Tensor own;              // what `values` shows, unless that is the caller's matrix
  ConstTensorView values;  // [out, depth] i8, zeros behind the inputs
  Tensor factors;          // [out] f32
};

// What StoredProductArgs describes, given how to multiply two vectors of a length.
using Dot = float (*)(const float* x, const float* weights, int64_t count);
void stored_product(const Context& context, const StoredProductArgs& args, Dot dot);

// `depth` is at least spec.in_features. An i8 matrix of that depth is not copied: it must outlive
// the result. Throws Error(kUnsupported) above kMaxInt8Inputs.
Int8Weights int8_weights(const Context& context, const LinearSpec& spec,
                         const LinearWeights& weights, int64_t depth);

// [out] f32, zeros where there is none.
Tensor bias_values(const LinearSpec& spec, const LinearWeights& weights);

}  // namespace nextscale::kernels
