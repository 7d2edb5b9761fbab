// SPDX-License-Identifier: Apache-2.0
#include "judge/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/error_format.h"

namespace nextscale {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

const std::filesystem::path kFolder = NEXTSCALE_TEST_DATA "/judge";
constexpr int kNumPictures = 5;
constexpr float kTolerance = 2e-5F;  // of scores up to 10: sums in another order

std::vector<float> values(const SafetensorsFile& file, const std::string& name) {
  const ConstTensorView view = file.view(name);
  const float* first = view.as<float>();
  return {first, first + view.shape.num_elements()};
}

Image picture(const SafetensorsFile& file, int number) {
  const ConstTensorView view = file.view(fmt::format("picture.{}", number));
  const uint8_t* first = view.as<uint8_t>();
  return {.width = view.shape[1],
          .height = view.shape[0],
          .rgb = {first, first + view.shape.num_elements()}};
}

// As a list of numbers: class, x, y, score of each.
std::vector<float> numbers(const std::vector<SeenSprite>& sprites) {
  std::vector<float> result;
  for (const SeenSprite& each : sprites) {
    result.insert(result.end(), {static_cast<float>(each.class_index), each.x, each.y, each.score});
  }
  return result;
}

// [classes, cells, cells] from [cells, cells, classes].
std::vector<float> classes_first(const Tensor& heat) {
  const int64_t num_cells = heat.shape()[0] * heat.shape()[1];
  const int64_t num_classes = heat.shape()[2];
  std::vector<float> result;
  for (int64_t each = 0; each < num_classes; ++each) {
    for (int64_t cell = 0; cell < num_cells; ++cell) {
      result.push_back(heat.as<float>()[cell * num_classes + each]);
    }
  }
  return result;
}

void expect_golden(Judge& judge) {
  const SafetensorsFile expected(kFolder / "expected.safetensors");
  for (int number = 0; number < kNumPictures; ++number) {
    SCOPED_TRACE(number);
    const SeenPicture seen = judge.look(picture(expected, number));
    const auto wanted = [&](const std::string& name) {
      return values(expected, fmt::format("{}.{}", name, number));
    };
    EXPECT_THAT(classes_first(judge.heatmap()), Pointwise(FloatNear(kTolerance), wanted("heat")));
    EXPECT_THAT(seen.color_scores, Pointwise(FloatNear(kTolerance), wanted("color")));
    EXPECT_THAT(seen.features, Pointwise(FloatNear(kTolerance), wanted("features")));
    EXPECT_THAT(numbers(seen.sprites), Pointwise(FloatNear(kTolerance), wanted("sprites")));
  }
}

TEST(Judge, SeesWhatPyTorchSees) {
  Judge judge(kFolder / kJudgeName);
  expect_golden(judge);
}

TEST(Judge, ReferenceOperatorsSeeTheSame) {
  Judge judge(kFolder / kJudgeName, 1, kernels::ref_table());
  expect_golden(judge);
}

TEST(Judge, ThreadsDoNotChangeABit) {
  const SafetensorsFile expected(kFolder / "expected.safetensors");
  Judge one(kFolder / kJudgeName, 1);
  Judge three(kFolder / kJudgeName, 3);
  const SeenPicture first = one.look(picture(expected, 1));
  const SeenPicture second = three.look(picture(expected, 1));
  EXPECT_EQ(first.features, second.features);
  EXPECT_EQ(first.class_scores, second.class_scores);
  EXPECT_EQ(first.color_scores, second.color_scores);
}

TEST(Judge, ClassScoresAreTheBestOfAllCells) {
  const SafetensorsFile expected(kFolder / "expected.safetensors");
  Judge judge(kFolder / kJudgeName);
  const SeenPicture seen = judge.look(picture(expected, 0));
  const std::vector<float> heat = classes_first(judge.heatmap());
  const size_t num_cells = heat.size() / seen.class_scores.size();
  for (size_t each = 0; each < seen.class_scores.size(); ++each) {
    const auto first = heat.begin() + static_cast<std::ptrdiff_t>(each * num_cells);
    EXPECT_EQ(seen.class_scores[each],
              *std::max_element(first, first + static_cast<std::ptrdiff_t>(num_cells)));
  }
}

TEST(Judge, LabelsAreThoseOfTheFile) {
  const Judge judge(kFolder / kJudgeName);
  EXPECT_THAT(judge.labels().classes, ElementsAre("dog", "red apple", "star", "boat", "key"));
  EXPECT_THAT(judge.labels().relations, ElementsAre("left of", "right of", "above", "below"));
  EXPECT_EQ(judge.labels().colors.size(), 10U);
}

TEST(Judge, RefusesAPictureWithoutPixels) {
  Judge judge(kFolder / kJudgeName);
  EXPECT_THROW(judge.look({}), Error);
}

TEST(ShrinkAreas, MeansOfWholeBlocks) {
  Image image{.width = 4, .height = 2, .rgb = {}};
  for (int value = 0; value < 4 * 2 * 3; ++value) {
    image.rgb.push_back(static_cast<uint8_t>(value));
  }
  std::vector<float> out(3);
  shrink_areas(image, 1, out.data());
  EXPECT_THAT(out, ElementsAre(FloatNear(10.5F / 255, 1e-7F), FloatNear(11.5F / 255, 1e-7F),
                               FloatNear(12.5F / 255, 1e-7F)));
}

// Scores of 3x3 cells with one class.
std::vector<SeenSprite> found(std::vector<float> probabilities) {
  for (float& each : probabilities) each = std::log(each / (1 - each));
  return find_sprites(probabilities.data(), 3, 1, 0.4F);
}

TEST(FindSprites, NeighboursOfABetterCellAreNone) {
  const auto sprites = found({0.9F, 0.8F, 0.1F, 0.7F, 0.6F, 0.1F, 0.1F, 0.1F, 0.5F});
  ASSERT_EQ(sprites.size(), 1U);
  EXPECT_FLOAT_EQ(sprites[0].x, 0.5F / 3);
  EXPECT_FLOAT_EQ(sprites[0].y, 0.5F / 3);
  EXPECT_NEAR(sprites[0].score, 0.9, 1e-6);
}

TEST(FindSprites, BestComesFirst) {
  const auto sprites = found({0.6F, 0.1F, 0.9F, 0.1F, 0.1F, 0.1F, 0.7F, 0.1F, 0.1F});
  ASSERT_EQ(sprites.size(), 3U);
  EXPECT_GT(sprites[0].score, sprites[1].score);
  EXPECT_GT(sprites[1].score, sprites[2].score);
}

TEST(FindSprites, BelowTheThresholdIsNothing) {
  EXPECT_TRUE(found({0.3F, 0.1F, 0.1F, 0.1F, 0.39F, 0.1F, 0.1F, 0.1F, 0.2F}).empty());
}

}  // namespace
}  // namespace nextscale
