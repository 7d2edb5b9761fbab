// SPDX-License-Identifier: Apache-2.0
#include "core/int8_row.h"

#include <bit>
#include <cmath>

namespace nextscale {
namespace {

// Adding 1.5 * 2^23 leaves no room for a fraction: the sum is rounded to even.
constexpr float kRounding = 12582912.0F;

float as_f32(float value) { return value; }
float as_f32(BFloat16 value) { return to_f32(value); }

// The loops below are without calls and branches, so that the compiler makes vector code of them.

template <typename Element>
Int8Scale scale_of(std::span<const Element> row) {
  // The bits of floats without a sign are in the order of their values, those of NaN on top; a
  // largest float would have to be looked for one by one.
  constexpr int32_t kMagnitude = 0x7fffffff;
  constexpr int32_t kInfinity = 0x7f800000;
  int32_t largest = 0;
  for (const Element element : row) {
    const int32_t magnitude = std::bit_cast<int32_t>(as_f32(element)) & kMagnitude;
    const int32_t counted = magnitude > kInfinity ? 0 : magnitude;
    largest = counted > largest ? counted : largest;
  }
  return int8_scale(std::bit_cast<float>(largest));
}

// Comparisons are such that a NaN gives the bound.
float whole_number(float scaled) {
  scaled = scaled < kInt8Most ? scaled : kInt8Most;
  scaled = scaled > -kInt8Most ? scaled : -kInt8Most;
  return scaled + kRounding - kRounding;
}

template <typename Element>
float quantize(std::span<const Element> row, std::span<int8_t> out) {
  const auto [factor, inverse] = scale_of(row);
  for (size_t at = 0; at < row.size(); ++at) {
    out[at] = static_cast<int8_t>(static_cast<int32_t>(whole_number(as_f32(row[at]) * inverse)));
  }
  return factor;
}

}  // namespace

Int8Scale int8_scale(float largest_magnitude) {
  const float factor = largest_magnitude / kInt8Most;
  // A factor below the normal numbers has no inverse.
  return {.factor = factor, .inverse = std::isnormal(factor) ? 1.0F / factor : 0.0F};
}

float quantize_row(std::span<const float> row, std::span<int8_t> out) { return quantize(row, out); }

float quantize_row(std::span<const BFloat16> row, std::span<int8_t> out) {
  return quantize(row, out);
}

void round_to_int8(std::span<float> row) {
  const auto [factor, inverse] = scale_of(std::span<const float>(row));
  for (float& element : row) element = factor * whole_number(element * inverse);
}

}  // namespace nextscale
