// SPDX-License-Identifier: Apache-2.0
// How far a fast kernel may be from `ref`, which computes in double precision. The only place.
#pragma once

#include <cmath>

#include "core/dtype.h"

namespace nextscale::kernels {

// |actual - expected| <= absolute + relative * |expected|
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

// Half a unit in the last place of an f32 is 6e-8; a bf16 differs by one place at most, because a
// value near the middle between two may round either way.
constexpr double kF32Relative = 1e-6;
constexpr double kBf16Relative = 1.0 / 128;

constexpr double relative_tolerance(DType out) {
  return out == DType::kBF16 ? kBf16Relative : kF32Relative;
}

// Element-wise work, norms and resampling of values around 1.
constexpr Tolerance elementwise_tolerance(DType out) { return {2e-6, relative_tolerance(out)}; }

// Sums of `terms` products of values in [-1, 1]: rounding errors add up like a random walk.
inline Tolerance product_tolerance(DType out, int64_t terms) {
  return {2e-6 * std::sqrt(static_cast<double>(terms)), relative_tolerance(out)};
}

// Convolutions of values in [-1, 1]: the fast form's transformations magnify some errors.
inline Tolerance convolution_tolerance(int64_t terms) {
  return {8e-6 * std::sqrt(static_cast<double>(terms)), kF32Relative};
}

// Attention over values in [-1, 1] with scores below `highest_score`, whose f32 rounding error the
// exponential passes on.
inline Tolerance attention_tolerance(DType out, double highest_score) {
  return {3e-6 + 4e-7 * highest_score, relative_tolerance(out)};
}

// Attention whose products take bf16 inputs: queries are rounded, which moves scores below
// `highest_score` by one part in 256 at most, and so are weights.
inline Tolerance bf16_attention_tolerance(double highest_score) {
  return {(1.0 + highest_score) / 256, kBf16Relative};
}

// Statistics of attention, whose weights pass on the rounding error of scores below
// `highest_score`. Spreads of nearly equal weights, and entropies of nearly certain ones, cancel
// out.
inline Tolerance statistics_tolerance(double highest_score) {
  return {1e-7, 3e-6 + 4e-7 * highest_score};
}

// What calibration adds up over a head's attention, with the same error of its scores.
inline Tolerance profile_tolerance(double highest_score) {
  return {1e-6 + 4e-7 * highest_score, kF32Relative};
}

// Golden vectors: what the files' README asks for.
constexpr Tolerance kGoldenTolerance = {2e-6, 0.0};

}  // namespace nextscale::kernels
