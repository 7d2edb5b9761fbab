// SPDX-License-Identifier: Apache-2.0
// What surrounds an int8 product, row by row: rounding x before it, and turning the sums into y
// behind it, while both lie in the cache. Thread safe: no state.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

// Rounded activations are stored with this added, as u8: the instruction that multiplies four pairs
// at once takes one unsigned and one signed factor.
inline constexpr int kInt8Offset = 128;

// Rounds `row` as quantize_row() does and returns its factor. `out` is as long or longer; what is
// behind the row stands for zero.
float round_row(std::span<const BFloat16> row, std::span<uint8_t> out);

// What turns sums into y, for each output.
struct Int8Outputs {
  const int32_t* offsets = nullptr;  // [out] kInt8Offset times the sum of the weights
  const float* factors = nullptr;    // [out] of the weights
  const float* bias = nullptr;       // [out]
  int64_t count = 0;
  Activation activation = Activation::kNone;
  DType dtype = DType::kF32;  // of y: f32 or bf16
};

// y = activation(x_factor * factors * (sums - offsets) + bias).
void finish_row(const Int8Outputs& outputs, const int32_t* sums, float x_factor, void* y);

// sums[i] = row . weights[i], both of `depth` elements, a multiple of kInt8DepthStep, for machines
// without the instruction.
void multiply_row(const uint8_t* row, const int8_t* weights, int64_t depth, int64_t outputs,
                  int32_t* sums);

// As many i8 as the longest vector holds.
inline constexpr int64_t kInt8DepthStep = 64;

}  // namespace nextscale::kernels::cpu
