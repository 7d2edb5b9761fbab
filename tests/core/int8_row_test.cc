// SPDX-License-Identifier: Apache-2.0
#include "core/int8_row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/rng.h"

namespace nextscale {
namespace {

std::vector<float> random_row(uint32_t seed, size_t count, float magnitude) {
  std::vector<float> row;
  for (size_t at = 0; at < count; ++at) {
    const RandomSite site{.seed = seed, .position = static_cast<uint32_t>(at)};
    row.push_back(magnitude * (2.0F * uniform(site, 0) - 1.0F));
  }
  return row;
}

TEST(Int8Row, AreOffByHalfAFactorAtMost) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const float magnitude = std::pow(10.0F, static_cast<float>(seed % 11) - 5);
    const std::vector<float> row = random_row(seed, 8 + seed, magnitude);
    std::vector<int8_t> stored(row.size());
    const float factor = quantize_row(std::span<const float>(row), stored);
    EXPECT_LE(factor, magnitude / 127);
    for (size_t at = 0; at < row.size(); ++at) {
      EXPECT_NEAR(static_cast<float>(stored[at]) * factor, row[at], 0.5001F * factor);
    }
  }
}

TEST(Int8Row, TheLargestMagnitudeIs127Factors) {
  const float row[] = {0.5F, -2.0F, 1.0F, 0.0F};
  int8_t stored[4];
  const float factor = quantize_row(std::span<const float>(row), stored);
  EXPECT_FLOAT_EQ(factor, 2.0F / 127);
  EXPECT_THAT(stored, testing::ElementsAre(32, -127, 64, 0));  // 31.75, 63.5
}

TEST(Int8Row, StoringWhatWasReadChangesNoElement) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::vector<float> row = random_row(seed, 64, 3.0F);
    std::vector<int8_t> once(row.size());
    const float factor = quantize_row(std::span<const float>(row), once);
    std::ranges::transform(once, row.begin(),
                           [&](int8_t value) { return static_cast<float>(value) * factor; });
    std::vector<int8_t> twice(row.size());
    EXPECT_FLOAT_EQ(quantize_row(std::span<const float>(row), twice), factor);
    EXPECT_EQ(once, twice);
  }
}

TEST(Int8Row, Bf16IsReadAsItsValue) {
  std::vector<BFloat16> narrow;
  std::vector<float> wide;
  for (const float value : random_row(3, 70, 1.0F)) {
    narrow.push_back(to_bf16(value));
    wide.push_back(to_f32(narrow.back()));
  }
  std::vector<int8_t> from_narrow(70);
  std::vector<int8_t> from_wide(70);
  EXPECT_EQ(quantize_row(std::span<const BFloat16>(narrow), from_narrow),
            quantize_row(std::span<const float>(wide), from_wide));
  EXPECT_EQ(from_narrow, from_wide);
}

TEST(Int8Row, RoundingInPlaceGivesWhatIsReadBack) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> row = random_row(seed, 8 + seed, 3.0F);
    std::vector<int8_t> stored(row.size());
    const float factor = quantize_row(std::span<const float>(row), stored);
    round_to_int8(row);
    for (size_t at = 0; at < row.size(); ++at) {
      EXPECT_EQ(row[at], factor * static_cast<float>(stored[at]));
    }
  }
}

TEST(Int8Row, ZerosStayZeros) {
  const float row[] = {0.0F, -0.0F, std::numeric_limits<float>::denorm_min()};
  int8_t stored[3];
  EXPECT_EQ(quantize_row(std::span<const float>(row), stored), 0.0F);
  EXPECT_THAT(stored, testing::Each(0));
}

TEST(Int8Row, WhatIsNotFiniteIsNoMistake) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float infinite[] = {1.0F, NAN, kInfinity, -kInfinity};
  const float no_number[] = {1.0F, NAN};
  int8_t stored[4];
  EXPECT_EQ(quantize_row(std::span<const float>(infinite), stored), kInfinity);
  EXPECT_FLOAT_EQ(quantize_row(std::span<const float>(no_number), stored), 1.0F / 127);
}

}  // namespace
}  // namespace nextscale
