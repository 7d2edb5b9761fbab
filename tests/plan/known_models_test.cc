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

Geometry of(std::string_view name, std::string_view size, double aspect) {
  const KnownModel& model = *find_known_model(name);
  return engine_geometry(model, find_size(model, size), aspect);
}

TEST(KnownModels, SequencesAreThoseOfThePapers) {
  EXPECT_EQ(sequence(of("var-d16", "256", 1)), 680);
  EXPECT_EQ(sequence(of("var-d36", "512", 1)), 2240);
  EXPECT_EQ(sequence(of("infinity-2b", "1M", 1)), 10521);
  EXPECT_EQ(sequence(of("infinity-2b", "0.06M", 2)), 451);
  EXPECT_EQ(sequence(of("vargpt-v1.1", "", 1)), 2521);
}

TEST(KnownModels, TextIsPartOfTheSequenceWhereItSharesTheCache) {
  const Geometry hart = of("hart", "", 1);
  EXPECT_EQ(hart.tokens(0), 300);
  EXPECT_EQ(sequence(hart), 9750);
  const Geometry onecat = of("onecat-3b", "", 1);
  EXPECT_EQ(onecat.num_scales(), 14);
  EXPECT_EQ(onecat.tokens(0), 43);
  EXPECT_EQ(sequence(onecat), 10521 + 43);
}

TEST(KnownModels, SizesGoByPixelsAsWell) {
  const KnownModel& model = *find_known_model("infinity-8b");
  EXPECT_EQ(find_size(model, "512").name, "0.25M");
  EXPECT_EQ(find_size(model, "").name, "1M");
  EXPECT_EQ(find_known_model("infinity-125m")->sizes.front().name, "0.06M");
}

TEST(KnownModels, AnImpossibleSizeIsRefusedWithThePossibleOnes) {
  try {
    find_size(*find_known_model("onecat-3b"), "256");
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
