// SPDX-License-Identifier: Apache-2.0
#include "judge/set_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/error_format.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

// Numbers in [0, 1) that look random, from a formula that another language can repeat: the
// fraction of 437.5453 sin(12.9898 t + phase), t = 1, 2, ...; times `factor`, plus `shift`.
FeatureSet made_set(int64_t size, int64_t channels, double phase, float factor = 1.0F,
                    float shift = 0.0F) {
  FeatureSet set(channels);
  std::vector<float> row(static_cast<size_t>(channels));
  double place = 0;
  for (int64_t index = 0; index < size; ++index) {
    for (float& value : row) {
      const double wave = std::sin(++place * 12.9898 + phase) * 437.5453;
      value = static_cast<float>(wave - std::floor(wave)) * factor + shift;
    }
    set.add(row);
  }
  return set;
}

FeatureSet set_of(const std::vector<std::vector<float>>& rows) {
  FeatureSet set(static_cast<int64_t>(rows.front().size()));
  for (const auto& row : rows) set.add(row);
  return set;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The values of NumPy, with eigenvalues of C1 C2 and distances of all pairs.
TEST(FrechetDistance, IsThatOfAnIndependentComputation) {
  EXPECT_NEAR(frechet_distance(made_set(40, 5, 0.1), made_set(60, 5, 0.7, 1.25F, 0.25F)),
              0.7283801736321593, 1e-7);
}

TEST(FrechetDistance, OfASetAndItselfIsNothing) {
  const FeatureSet set = made_set(50, 6, 0.2);
  EXPECT_NEAR(frechet_distance(set, set), 0.0, 1e-10);
}

TEST(FrechetDistance, OfAShiftedSetIsTheSquaredShift) {
  EXPECT_NEAR(frechet_distance(made_set(50, 3, 0.2), made_set(50, 3, 0.2, 1.0F, 2.0F)), 3 * 4.0,
              1e-5);
}

// In one dimension (m1 - m2)^2 + (s1 - s2)^2.
TEST(FrechetDistance, OfOneDimensionHasAClosedForm) {
  const FeatureSet one = set_of({{-1}, {1}});    // mean 0, variance 2
  const FeatureSet other = set_of({{-2}, {4}});  // mean 1, variance 18
  const double spread = std::sqrt(2.0) - std::sqrt(18.0);
  EXPECT_NEAR(frechet_distance(one, other), 1 + spread * spread, 1e-12);
}

TEST(FrechetDistance, RefusesSetsWithoutACovariance) {
  try {
    frechet_distance(made_set(5, 5, 0), made_set(60, 5, 0));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("set of 5 pictures, wanted at least 6"));
  }
}

TEST(FrechetDistance, RefusesFeaturesOfAnotherJudge) {
  EXPECT_THROW(frechet_distance(made_set(50, 5, 0), made_set(50, 4, 0)), Error);
}

TEST(InceptionScore, IsThatOfAnIndependentComputation) {
  EXPECT_NEAR(inception_score(made_set(40, 5, 0.3, 8.0F)), 1.958692701128168, 1e-7);
}

TEST(InceptionScore, OfClearAndVariedPicturesIsTheNumberOfClasses) {
  EXPECT_NEAR(inception_score(set_of({{200, 0, 0}, {0, 200, 0}, {0, 0, 200}})), 3.0, 1e-9);
}

TEST(InceptionScore, OfPicturesOfOneClassIsOne) {
  EXPECT_NEAR(inception_score(set_of({{200, 0, 0}, {200, 0, 0}})), 1.0, 1e-9);
}

TEST(InceptionScore, OfUnclearPicturesIsOne) {
  EXPECT_NEAR(inception_score(set_of({{1, 1, 1}, {-5, -5, -5}})), 1.0, 1e-9);
}

TEST(Coverage, IsThatOfAnIndependentComputation) {
  const Coverage found = coverage(made_set(40, 5, 0.1), made_set(60, 5, 0.7, 1.25F, 0.25F), 2);
  EXPECT_NEAR(mean(found.precision), 28 / 40.0, 1e-12);
  EXPECT_NEAR(mean(found.recall), 20 / 60.0, 1e-12);
}

// Reference pictures at 0, 1, 2, 3 reach 3, 2, 2 and 3 to their third neighbours: to -3 and 6.
TEST(Coverage, CountsThePicturesInReach) {
  const FeatureSet reference = set_of({{0}, {1}, {2}, {3}});
  const FeatureSet pictures = set_of({{-2}, {1.5}, {6}, {6.1F}, {-4}});
  EXPECT_THAT(coverage(pictures, reference, 1).precision, testing::ElementsAre(1, 1, 1, 0, 0));
}

TEST(Coverage, OfEqualSetsIsFull) {
  const FeatureSet set = made_set(20, 4, 0.5);
  const Coverage found = coverage(set, set, 1);
  EXPECT_EQ(mean(found.precision), 1.0);
  EXPECT_EQ(mean(found.recall), 1.0);
}

TEST(Coverage, RefusesSetsWithoutNeighbours) {
  EXPECT_THROW(coverage(made_set(3, 4, 0), made_set(20, 4, 0), 1), Error);
  EXPECT_THROW(coverage(made_set(20, 4, 0), made_set(3, 4, 0), 1), Error);
}

}  // namespace
}  // namespace nextscale
