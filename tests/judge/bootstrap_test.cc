// SPDX-License-Identifier: Apache-2.0
#include "judge/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace nextscale {
namespace {

// `ones` of `count` values are 1, the others 0.
std::vector<double> indicators(size_t ones, size_t count) {
  std::vector<double> values(count, 0.0);
  std::fill_n(values.begin(), ones, 1.0);
  return values;
}

// Of a proportion p the mean's standard deviation is sqrt(p (1 - p) / n).
TEST(Bootstrap, IntervalOfAProportionIsTheNormalOne) {
  const MeanInterval got = bootstrap_mean(indicators(300, 1000), {.resamples = 4000});
  const double half = 1.96 * std::sqrt(0.3 * 0.7 / 1000);
  EXPECT_DOUBLE_EQ(got.mean, 0.3);
  EXPECT_NEAR(got.low, 0.3 - half, 0.1 * half);
  EXPECT_NEAR(got.high, 0.3 + half, 0.1 * half);
  EXPECT_EQ(got.count, 1000);
}

TEST(Bootstrap, EqualValuesAreCertain) {
  const MeanInterval got = bootstrap_mean(std::vector<double>(20, 0.25));
  EXPECT_DOUBLE_EQ(got.low, 0.25);
  EXPECT_DOUBLE_EQ(got.high, 0.25);
}

TEST(Bootstrap, SeedDecides) {
  const std::vector<double> values{0.1, 0.5, 0.2, 0.9, 0.3, 0.7};
  EXPECT_EQ(bootstrap_mean(values, {.seed = 1}).low, bootstrap_mean(values, {.seed = 1}).low);
  EXPECT_NE(bootstrap_mean(values, {.resamples = 20, .seed = 1}).low,
            bootstrap_mean(values, {.resamples = 20, .seed = 2}).low);
}

TEST(Bootstrap, LessCoverageIsNarrower) {
  const std::vector<double> values = indicators(40, 100);
  const MeanInterval wide = bootstrap_mean(values);
  const MeanInterval narrow = bootstrap_mean(values, {.coverage = 0.5});
  EXPECT_LT(wide.low, narrow.low);
  EXPECT_GT(wide.high, narrow.high);
}

TEST(Bootstrap, OfNothingIsNothing) { EXPECT_EQ(bootstrap_mean({}).count, 0); }

}  // namespace
}  // namespace nextscale
