// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/schedules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace nextscale {
namespace {

struct Shape {
  double aspect;
  std::array<int64_t, 4> tokens;  // of the whole sequence at 0.06M, 0.25M, 0.60M, 1M
  Grid last;                      // map at 1M
};

// The official table's totals, upright shapes.
constexpr std::array<Shape, 8> kShapes{{
    {1.0, {521, 2521, 6425, 10521}, {64, 64}},
    {1.25, {614, 2814, 6854, 10774}, {70, 56}},
    {1.333, {665, 2657, 7085, 10973}, {72, 54}},
    {1.5, {533, 2759, 6941, 10997}, {78, 52}},
    {1.75, {472, 2628, 7220, 11252}, {84, 48}},
    {2.0, {451, 2681, 7219, 11269}, {90, 45}},
    {2.5, {555, 2555, 6805, 10805}, {100, 40}},
    {3.0, {509, 2588, 7016, 11123}, {111, 37}},
}};

int64_t tokens_of(const std::vector<Grid>& maps) {
  return Geometry{.scales = maps}.tokens_through(static_cast<int>(maps.size()) - 1);
}

TEST(InfinitySchedules, TotalsAreThoseOfTheOfficialTable) {
  for (const Shape& shape : kShapes) {
    for (size_t size = 0; size < shape.tokens.size(); ++size) {
      const int scales = infinity_sizes()[size].num_scales;
      EXPECT_EQ(tokens_of(infinity_schedule(shape.aspect, scales)), shape.tokens[size])
          << shape.aspect;
    }
    EXPECT_EQ(infinity_schedule(shape.aspect, kInfinityScales).back(), shape.last);
  }
}

TEST(InfinitySchedules, LyingShapesSwapHeightAndWidth) {
  for (const auto& [upright, lying] : std::vector<std::pair<double, double>>{
           {1.25, 0.8}, {1.333, 0.75}, {1.5, 0.666}, {1.75, 0.571}, {3.0, 0.333}}) {
    const std::vector<Grid> tall = infinity_schedule(upright, kInfinityScales);
    const std::vector<Grid> wide = infinity_schedule(lying, kInfinityScales);
    for (size_t scale = 0; scale < tall.size(); ++scale) {
      EXPECT_EQ(wide[scale], (Grid{tall[scale].width, tall[scale].height}));
    }
  }
}

TEST(InfinitySchedules, TheNearestShapeIsTakenAndTheFirstOfTwo) {
  EXPECT_EQ(nearest_infinity_aspect(9.0), 3.0);
  EXPECT_EQ(nearest_infinity_aspect(0.01), 0.333);
  EXPECT_EQ(nearest_infinity_aspect(1.45), 1.5);
  EXPECT_EQ(nearest_infinity_aspect(1.125), 1.0);  // as far from 1.25
  EXPECT_EQ(nearest_infinity_aspect(0.45), 0.5);   // as far from 0.4
}

TEST(InfinitySchedules, SquareSizesAreSixteenPixelsAToken) {
  for (const InfinitySize& size : infinity_sizes()) {
    const Grid last = infinity_schedule(1.0, size.num_scales).back();
    EXPECT_EQ(last.width * kInfinityPixelsPerToken, size.square_side) << size.name;
  }
}

}  // namespace
}  // namespace nextscale
