// SPDX-License-Identifier: Apache-2.0
// Separable resampling as matrices: output = M input along each axis. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace nextscale {

// [out, in] weights of PyTorch's bicubic interpolation: a = -0.75, half-pixel centres, no
// antialiasing, border taps clamped (specs/var.md section 6).
std::vector<float> bicubic_matrix(int64_t in, int64_t out);

// [out, in] weights of PyTorch's linear interpolation, up and down: half-pixel centres, no
// antialiasing, positions before the first centre read it (specs/infinity.md section 9).
std::vector<float> linear_matrix(int64_t in, int64_t out);

// [out, in] weights of adaptive average pooling: output i averages inputs floor(i in / out) ...
// ceil((i + 1) in / out) - 1.
std::vector<float> area_matrix(int64_t in, int64_t out);

}  // namespace nextscale
