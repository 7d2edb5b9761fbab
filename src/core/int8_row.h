// SPDX-License-Identifier: Apache-2.0
// Eight-bit weights, keys and values: a row of numbers as whole numbers from -127 to 127 and one
// factor. Thread safe: no state.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/dtype.h"

namespace nextscale {

// In files, the factors of the rows of matrix "x" are the tensor "x_factors".
inline constexpr std::string_view kRowFactorsEnding = "_factors";

// -128 is left out, so that a number and its negative round alike.
inline constexpr float kInt8Most = 127.0F;

// How a row is rounded whose largest magnitude is known: element * inverse, to a whole number.
struct Int8Scale {
  float factor = 0.0F;
  float inverse = 0.0F;  // 0 where the factor has none: the row is zero for every purpose
};

Int8Scale int8_scale(float largest_magnitude);

// Fills `out`, as long as `row`, and returns the factor with which row = factor * out to within
// half a factor. Ties round to even; a row of zeros has the factor 0. A row with an infinity has an
// infinite factor; what is stored of its elements, or of a NaN, is some number.
float quantize_row(std::span<const float> row, std::span<int8_t> out);
float quantize_row(std::span<const BFloat16> row, std::span<int8_t> out);

// The row that quantize_row() describes: the factor times whole numbers.
void round_to_int8(std::span<float> row);

}  // namespace nextscale
