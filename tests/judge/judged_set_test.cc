// SPDX-License-Identifier: Apache-2.0
#include "judge/judged_set.h"

#include <gtest/gtest.h>

namespace nextscale {
namespace {

const JudgeConfig kConfig{.labels = {.classes = {"cat", "dog"}, .colors = {"red"}, .relations = {}},
                          .side = 4,
                          .widths = {3},
                          .pools = {false},
                          .threshold = 0.4F};

SeenPicture picture_of(int64_t class_index) {
  return {.sprites = {{.class_index = class_index, .x = 0.5F, .y = 0.5F, .score = 0.9F}},
          .class_scores = {class_index == 0 ? 9.0F : -9.0F, class_index == 1 ? 9.0F : -9.0F},
          .color_scores = {0},
          .features = {1, 2, 3}};
}

TEST(JudgedSet, AccuraciesAreOfWhatWasExpected) {
  JudgedSet set(kConfig);
  const Expectation cat{.kind = SceneKind::kSingle, .sprites = {0}};
  for (const int64_t seen : {0, 0, 1, 0}) set.add(picture_of(seen), cat);
  set.add(picture_of(1), std::nullopt);
  EXPECT_EQ(set.size(), 5);
  EXPECT_EQ(set.num_expected(), 4);
  EXPECT_DOUBLE_EQ(set.accuracy(Attribute::kSingle).mean, 0.75);
  EXPECT_EQ(set.accuracy(Attribute::kAll).count, 4);
  EXPECT_EQ(set.accuracy(Attribute::kColor).count, 0);
}

TEST(JudgedSet, KeepsFeaturesAndScoresOfAll) {
  JudgedSet set(kConfig);
  for (const int64_t seen : {0, 1}) set.add(picture_of(seen), std::nullopt);
  EXPECT_EQ(set.features().size(), 2);
  EXPECT_EQ(set.features().row(1)[2], 3.0F);
  EXPECT_NEAR(inception_score(set.class_scores()), 2.0, 1e-6);
}

}  // namespace
}  // namespace nextscale
