// SPDX-License-Identifier: Apache-2.0
// From the decoder's floats to 8-bit pixels. Thread safe: no state.
#pragma once

#include <cstdint>
#include <span>

#include "nextscale/image.h"

namespace nextscale {

enum class PixelLayout {
  kPlanar,       // [3, height, width]
  kInterleaved,  // [height, width, 3]
};

// trunc(255 x), as the official models save pictures, for x in [0, 1]; values outside are clamped
// and NaN becomes 0.
uint8_t to_pixel(float value);

// `values` holds 3 * width * height floats in the given layout.
Image to_image(std::span<const float> values, int64_t width, int64_t height, PixelLayout layout);

}  // namespace nextscale
