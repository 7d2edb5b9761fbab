// SPDX-License-Identifier: Apache-2.0
#include "core/int8_row.h"

#include <algorithm>
#include <cmath>

namespace nextscale {
namespace {

// -128 is left out, so that a number and its negative round alike.
constexpr float kMost = 127.0F;

float factor_of(std::span<const float> row) {
  float largest = 0.0F;
  for (const float value : row) largest = std::max(largest, std::fabs(value));
  return largest / kMost;
}

}  // namespace

float quantize_row(std::span<const float> row, std::span<int8_t> out) {
  const float factor = factor_of(row);
  // A factor below the normal numbers has no inverse; the row is zero for every purpose.
  const float inverse = std::isnormal(factor) ? 1.0F / factor : 0.0F;
  std::ranges::transform(row, out.begin(), [inverse](float value) {
    return static_cast<int8_t>(std::clamp(std::nearbyint(value * inverse), -kMost, kMost));
  });
  return factor;
}

}  // namespace nextscale
