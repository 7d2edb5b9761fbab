// SPDX-License-Identifier: Apache-2.0
#include "plan/known_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "nextscale/error.h"

namespace nextscale {
namespace {

int64_t sequence(const Geometry& geometry) {
  return geometry.tokens_through(geometry.num_scales() - 1);
}

Geometry of(std::string_view name, std::string_view size) {
  const KnownModel& model = *find_known_model(name);
  return engine_geometry(model, find_picture(model, size));
}

TEST(KnownModels, SequencesAreThoseOfThePapers) {
  EXPECT_EQ(sequence(of("var-d16", "256")), 680);
  EXPECT_EQ(sequence(of("var-d36", "512")), 2240);
  EXPECT_EQ(sequence(of("infinity-2b", "1M")), 10521);
  EXPECT_EQ(sequence(of("infinity-2b", "1:2@0.06M")), 451);
  EXPECT_EQ(sequence(of("vargpt-v1.1", "")), 2521);
}

TEST(KnownModels, TextIsPartOfTheSequenceWhereItSharesTheCache) {
  const Geometry hart = of("hart", "");
  EXPECT_EQ(hart.tokens(0), 300);
  EXPECT_EQ(sequence(hart), 9750);
  const Geometry onecat = of("onecat-3b", "");
  EXPECT_EQ(onecat.num_scales(), 14);
  EXPECT_EQ(onecat.tokens(0), 43);
  EXPECT_EQ(sequence(onecat), 10521 + 43);
}

TEST(KnownModels, SizesGoByPixelsAsWell) {
  const KnownModel& model = *find_known_model("infinity-8b");
  EXPECT_EQ(find_picture(model, "512").size->name, "0.25M");
  EXPECT_EQ(find_picture(model, "").size->name, "1M");
  EXPECT_EQ(find_known_model("infinity-125m")->sizes.front().name, "0.06M");
}

TEST(KnownModels, InfinitysSchedulesComeInManyShapes) {
  const KnownModel& model = *find_known_model("infinity-2b");
  const PictureChoice wide = find_picture(model, "3:2@0.25M");
  EXPECT_EQ(wide.size->name, "0.25M");
  EXPECT_EQ(picture_pixels(model, wide), (Grid{416, 624}));
  EXPECT_EQ(picture_pixels(model, find_picture(model, "768x1152")), (Grid{1248, 832}));
  EXPECT_THROW(find_picture(*find_known_model("var-d16"), "3:2@0.25M"), Error);
}

TEST(KnownModels, AnImpossibleSizeIsRefusedWithThePossibleOnes) {
  try {
    find_picture(*find_known_model("onecat-3b"), "256");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), testing::HasSubstr("1M (1024), 0.25M (512)"));
  }
}

TEST(KnownModels, NamesAreUniqueAndEveryModelHasHeadsThatGroup) {
  std::set<std::string_view> names;
  for (const KnownModel& model : known_models()) {
    EXPECT_TRUE(names.insert(model.name).second);
    EXPECT_EQ(model.query_heads % model.kv_heads, 0) << model.name;
    EXPECT_GT(paper_pair_bytes(model.family), 0) << model.name;
  }
}

}  // namespace
}  // namespace nextscale
