// SPDX-License-Identifier: Apache-2.0
#include "blocks/resampling.h"

#include <algorithm>
#include <cmath>

namespace nextscale {
namespace {

constexpr double kCubicA = -0.75;  // PyTorch's; Pillow uses -0.5

// Weight of a tap at distance `w` from the sampled position, 0 <= w <= 2.
double cubic_weight(double w) {
  if (w <= 1) return ((kCubicA + 2) * w - (kCubicA + 3)) * w * w + 1;
  return ((kCubicA * w - 5 * kCubicA) * w + 8 * kCubicA) * w - 4 * kCubicA;
}

}  // namespace

std::vector<float> bicubic_matrix(int64_t in, int64_t out) {
  std::vector<double> weights(static_cast<size_t>(out * in), 0.0);
  for (int64_t row = 0; row < out; ++row) {
    const double position =
        static_cast<double>(in) / static_cast<double>(out) * (static_cast<double>(row) + 0.5) - 0.5;
    const auto first = static_cast<int64_t>(std::floor(position)) - 1;
    for (int64_t tap = first; tap < first + 4; ++tap) {
      const int64_t read = std::clamp<int64_t>(tap, 0, in - 1);
      weights[static_cast<size_t>(row * in + read)] +=
          cubic_weight(std::abs(position - static_cast<double>(tap)));
    }
  }
  return {weights.begin(), weights.end()};
}

std::vector<float> linear_matrix(int64_t in, int64_t out) {
  std::vector<float> weights(static_cast<size_t>(out * in), 0.0F);
  for (int64_t row = 0; row < out; ++row) {
    const double centre =
        (static_cast<double>(row) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    const double position = std::max(0.0, centre);
    const auto first = static_cast<int64_t>(position);
    const double share = position - static_cast<double>(first);
    weights[static_cast<size_t>(row * in + first)] += static_cast<float>(1.0 - share);
    weights[static_cast<size_t>(row * in + std::min(first + 1, in - 1))] +=
        static_cast<float>(share);
  }
  return weights;
}

std::vector<float> area_matrix(int64_t in, int64_t out) {
  std::vector<float> weights(static_cast<size_t>(out * in), 0.0F);
  for (int64_t row = 0; row < out; ++row) {
    const int64_t begin = row * in / out;
    const int64_t end = ((row + 1) * in + out - 1) / out;
    std::fill_n(weights.begin() + row * in + begin, end - begin,
                1.0F / static_cast<float>(end - begin));
  }
  return weights;
}

}  // namespace nextscale
