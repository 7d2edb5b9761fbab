// SPDX-License-Identifier: Apache-2.0
#include "image/pixels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace nextscale {
namespace {

using testing::ElementsAre;

TEST(ToPixel, TruncatesInsteadOfRounding) {
  EXPECT_EQ(to_pixel(0.0F), 0);
  EXPECT_EQ(to_pixel(0.999F / 255.0F), 0);
  EXPECT_EQ(to_pixel(1.5F / 255.0F), 1);
  EXPECT_EQ(to_pixel(0.9999F), 254);
  EXPECT_EQ(to_pixel(1.0F), 255);
}

TEST(ToPixel, ClampsWhatIsOutsideTheRange) {
  EXPECT_EQ(to_pixel(-0.5F), 0);
  EXPECT_EQ(to_pixel(1.5F), 255);
  EXPECT_EQ(to_pixel(std::numeric_limits<float>::infinity()), 255);
  EXPECT_EQ(to_pixel(-std::numeric_limits<float>::infinity()), 0);
}

TEST(ToPixel, NanIsBlack) { EXPECT_EQ(to_pixel(std::nanf("")), 0); }

TEST(ToImage, ReadsPlanes) {
  const std::array<float, 6> planes{0.0F, 1.0F, 0.2F, 0.4F, 0.6F, 0.8F};
  const Image image = to_image(planes, 2, 1, PixelLayout::kPlanar);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.height, 1);
  EXPECT_THAT(image.rgb, ElementsAre(0, 51, 153, 255, 102, 204));
}

TEST(ToImage, ReadsInterleavedPixels) {
  const std::array<float, 6> pixels{0.0F, 1.0F, 0.2F, 0.4F, 0.6F, 0.8F};
  EXPECT_THAT(to_image(pixels, 1, 2, PixelLayout::kInterleaved).rgb,
              ElementsAre(0, 255, 51, 102, 153, 204));
}

TEST(ToImageDeathTest, WrongNumberOfValuesIsOurMistake) {
  const std::array<float, 5> values{};
  EXPECT_DEATH(to_image(values, 2, 1, PixelLayout::kPlanar), "internal error");
}

}  // namespace
}  // namespace nextscale
