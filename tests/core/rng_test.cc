// SPDX-License-Identifier: Apache-2.0
#include "core/rng.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace nextscale {
namespace {

using testing::ElementsAre;

// Known answers of Philox4x32-10, published with the reference implementation (Random123,
// kat_vectors).
TEST(Philox, MatchesThePublishedAnswers) {
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U));
  constexpr uint32_t kOnes = 0xffffffffU;
  EXPECT_THAT(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU));
  // Digits of pi.
  EXPECT_THAT(
      philox4x32({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}),
      ElementsAre(0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U));
}

TEST(Uniform, IsAFunctionOfItsSite) {
  const RandomSite site{.seed = 1, .image = 2, .scale = 3, .position = 4};
  EXPECT_EQ(uniform(site, 0), uniform(site, 0));
}

TEST(Uniform, EveryPartOfTheSiteMatters) {
  const RandomSite site{.seed = 1, .image = 2, .scale = 3, .position = 4};
  std::set<float> values{uniform(site, 0)};
  RandomSite other = site;
  other.seed = 5;
  values.insert(uniform(other, 0));
  other.seed = site.seed | uint64_t{1} << 32;  // the upper half of the seed
  values.insert(uniform(other, 0));
  other = site;
  other.image = 5;
  values.insert(uniform(other, 0));
  other = site;
  other.scale = 5;
  values.insert(uniform(other, 0));
  other = site;
  other.position = 5;
  values.insert(uniform(other, 0));
  values.insert(uniform(site, 1));
  values.insert(uniform(site, 4));  // the first draw of the next block
  EXPECT_EQ(values.size(), 8U);
}

TEST(Uniform, LiesInTheHalfOpenUnitIntervalWithTheRightMean) {
  constexpr uint32_t kDraws = 100000;
  double sum = 0;
  for (uint32_t draw = 0; draw < kDraws; ++draw) {
    const float value = uniform({.seed = 7}, draw);
    ASSERT_GE(value, 0.0F);
    ASSERT_LT(value, 1.0F);
    sum += value;
  }
  // The standard error is 0.0009.
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
}

TEST(Gumbel, IsFiniteWithTheRightMean) {
  constexpr uint32_t kDraws = 100000;
  constexpr double kEulerGamma = 0.5772156649;
  double sum = 0;
  for (uint32_t position = 0; position < kDraws; ++position) {
    const float value = gumbel({.seed = 7, .position = position}, 0);
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
  }
  // The standard error is 0.004.
  EXPECT_NEAR(sum / kDraws, kEulerGamma, 0.02);
}

}  // namespace
}  // namespace nextscale
