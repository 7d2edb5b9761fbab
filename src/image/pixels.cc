// SPDX-License-Identifier: Apache-2.0
#include "image/pixels.h"

#include <algorithm>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr size_t kChannels = 3;
constexpr float kMaxPixel = 255.0F;

}  // namespace

uint8_t to_pixel(float value) {
  // The comparison is false for NaN.
  if (!(value > 0.0F)) return 0;
  return static_cast<uint8_t>(kMaxPixel * std::min(value, 1.0F));
}

Image to_image(std::span<const float> values, int64_t width, int64_t height, PixelLayout layout) {
  NEXTSCALE_ASSERT(width > 0 && height > 0);
  const size_t num_pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  NEXTSCALE_ASSERT(values.size() == kChannels * num_pixels);
  Image image{width, height, std::vector<uint8_t>(values.size())};
  if (layout == PixelLayout::kInterleaved) {
    std::ranges::transform(values, image.rgb.begin(), to_pixel);
    return image;
  }
  for (size_t channel = 0; channel < kChannels; ++channel) {
    const std::span<const float> plane = values.subspan(channel * num_pixels, num_pixels);
    for (size_t pixel = 0; pixel < num_pixels; ++pixel) {
      image.rgb[pixel * kChannels + channel] = to_pixel(plane[pixel]);
    }
  }
  return image;
}

}  // namespace nextscale
