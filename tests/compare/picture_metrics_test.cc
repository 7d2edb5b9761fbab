// SPDX-License-Identifier: Apache-2.0
#include "compare/picture_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nextscale/error.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

template <typename Level>
Image picture(int64_t width, int64_t height, const Level& level) {
  Image image{.width = width, .height = height, .rgb = {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        image.rgb.push_back(static_cast<uint8_t>(level(x, y, channel)));
      }
    }
  }
  return image;
}

int64_t waves(int64_t x, int64_t y, int64_t channel) {
  return (7 * x + 13 * y + 31 * channel + x * y) % 256;
}

Image some_waves() { return picture(24, 17, waves); }

Image disturbed_waves() {
  return picture(24, 17, [](int64_t x, int64_t y, int64_t channel) {
    return std::min<int64_t>(255, waves(x, y, channel) + (3 * x * y + 5 * channel) % 97);
  });
}

Image grey(int64_t width, int64_t height, int level) {
  return picture(width, height, [=](int64_t, int64_t, int64_t) { return level; });
}

// The constants are of the papers' formulas in NumPy, in double precision.
TEST(PictureMetrics, AreThoseOfTheFormulas) {
  EXPECT_NEAR(mean_squared_error(some_waves(), disturbed_waves()), 2152.997549019608, 1e-9);
  EXPECT_NEAR(psnr(some_waves(), disturbed_waves()), 14.800368254465901, 1e-9);
  EXPECT_NEAR(ssim(some_waves(), disturbed_waves()), 0.8532193650829832, 1e-9);
}

TEST(PictureMetrics, OfFlatPicturesHaveClosedForms) {
  const Image dark = grey(20, 12, 100);
  const Image light = grey(20, 12, 110);
  EXPECT_DOUBLE_EQ(psnr(dark, light), 10 * std::log10(255.0 * 255.0 / 100.0));
  const double c1 = 2.55 * 2.55;
  EXPECT_NEAR(ssim(dark, light), (2 * 100 * 110 + c1) / (100 * 100 + 110 * 110 + c1), 1e-9);
}

TEST(PictureMetrics, AreSymmetric) {
  EXPECT_EQ(psnr(some_waves(), disturbed_waves()), psnr(disturbed_waves(), some_waves()));
  EXPECT_NEAR(ssim(some_waves(), disturbed_waves()), ssim(disturbed_waves(), some_waves()), 1e-12);
}

TEST(PictureMetrics, OfEqualPicturesAreTheBest) {
  const Image waves = some_waves();
  EXPECT_EQ(mean_squared_error(waves, waves), 0.0);
  EXPECT_NEAR(ssim(waves, waves), 1.0, 1e-12);
  Image closest = waves;
  closest.rgb[5] ^= 1;
  EXPECT_DOUBLE_EQ(psnr(waves, waves), psnr(waves, closest));
}

TEST(PictureMetrics, NeedPicturesThatFit) {
  EXPECT_THAT([] { psnr(grey(4, 5, 0), grey(5, 4, 0)); },
              testing::ThrowsMessage<Error>(HasSubstr("4x5 and 5x4")));
  EXPECT_THAT([] { ssim(grey(11, 10, 0), grey(11, 10, 0)); },
              testing::ThrowsMessage<Error>(HasSubstr("at least 11x11")));
  EXPECT_NO_THROW(ssim(grey(11, 11, 0), grey(11, 11, 0)));
}

TEST(DifferenceMap, IsAmplifiedAndEndsAtWhite) {
  const Image map = difference_map(grey(2, 1, 100), grey(2, 1, 90), 4);
  EXPECT_EQ(map, grey(2, 1, 40));
  EXPECT_EQ(difference_map(grey(2, 1, 0), grey(2, 1, 200), 4), grey(2, 1, 255));
}

}  // namespace
}  // namespace nextscale
