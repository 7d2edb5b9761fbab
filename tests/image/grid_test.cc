// SPDX-License-Identifier: Apache-2.0
#include "image/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "nextscale/error.h"

namespace nextscale {
namespace {

using testing::ElementsAre;

// One pixel per picture, its grey level the picture's number.
std::vector<Image> numbered(uint8_t count) {
  std::vector<Image> images;
  for (uint8_t number = 0; number < count; ++number) {
    images.push_back({1, 1, {number, number, number}});
  }
  return images;
}

std::vector<int> red_of(const Image& image) {
  std::vector<int> red;
  for (size_t at = 0; at < image.rgb.size(); at += 3) red.push_back(image.rgb[at]);
  return red;
}

TEST(NearSquareColumns, PrefersFullRectangles) {
  EXPECT_EQ(near_square_columns(1), 1);
  EXPECT_EQ(near_square_columns(2), 2);
  EXPECT_EQ(near_square_columns(4), 2);
  EXPECT_EQ(near_square_columns(6), 3);
  EXPECT_EQ(near_square_columns(8), 4);
  EXPECT_EQ(near_square_columns(12), 4);
  EXPECT_EQ(near_square_columns(16), 4);
}

TEST(NearSquareColumns, NeverMakesAStrip) {
  EXPECT_EQ(near_square_columns(5), 3);
  EXPECT_EQ(near_square_columns(7), 3);
  EXPECT_EQ(near_square_columns(13), 4);
}

TEST(ComposeGrid, OnePictureStaysAsItIs) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(compose_grid({&image, 1}), image);
}

TEST(ComposeGrid, GoesInReadingOrderAndFillsTheRest) {
  const Image grid = compose_grid(numbered(5), {.columns = 3, .background = 9});
  EXPECT_EQ(grid.width, 3);
  EXPECT_EQ(grid.height, 2);
  EXPECT_THAT(red_of(grid), ElementsAre(0, 1, 2, 3, 4, 9));
}

TEST(ComposeGrid, PadsAroundAndBetween) {
  const Image grid = compose_grid(numbered(2), {.padding = 1, .background = 9});
  EXPECT_EQ(grid.width, 5);
  EXPECT_EQ(grid.height, 3);
  EXPECT_THAT(red_of(grid), ElementsAre(9, 9, 9, 9, 9, 9, 0, 9, 1, 9, 9, 9, 9, 9, 9));
}

TEST(ComposeGrid, IsNoWiderThanItsPictures) {
  EXPECT_EQ(compose_grid(numbered(2), {.columns = 8}).width, 2);
}

TEST(ComposeGrid, KeepsRowsOfLargerPicturesTogether) {
  const std::vector<Image> images{{1, 2, {1, 1, 1, 2, 2, 2}}, {1, 2, {3, 3, 3, 4, 4, 4}}};
  EXPECT_THAT(red_of(compose_grid(images)), ElementsAre(1, 3, 2, 4));
}

TEST(ComposeGrid, RefusesNoPicturesAndDifferentSizes) {
  EXPECT_THROW(compose_grid({}), Error);
  const std::vector<Image> images{{1, 1, {1, 1, 1}}, {1, 2, {3, 3, 3, 4, 4, 4}}};
  EXPECT_THROW(compose_grid(images), Error);
  EXPECT_THROW(compose_grid(numbered(1), {.columns = -1}), Error);
}

}  // namespace
}  // namespace nextscale
