// SPDX-License-Identifier: Apache-2.0
#include "core/suggest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace nextscale {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::array<std::string_view, 4> kPolicies{"full", "hackpp", "heatkv", "streaming"};

TEST(EditDistance, CountsInsertionsDeletionsAndReplacements) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("saturday", "sunday"), 3U);
}

TEST(EditDistance, IgnoresCase) { EXPECT_EQ(edit_distance("HeatKV", "heatkv"), 0U); }

TEST(NearestNames, PutsTheNearestFirst) {
  EXPECT_THAT(nearest_names("hackp", kPolicies, 3), ElementsAre("hackpp"));
  EXPECT_THAT(nearest_names("streamin", kPolicies, 3), ElementsAre("streaming"));
}

TEST(NearestNames, KeepsTheOrderOfTies) {
  constexpr std::array<std::string_view, 3> kNames{"bat", "cat", "rat"};
  EXPECT_THAT(nearest_names("hat", kNames, 2), ElementsAre("bat", "cat"));
}

TEST(NearestNames, SaysNothingWhenNothingIsNear) {
  EXPECT_THAT(nearest_names("quantize", kPolicies, 3), IsEmpty());
  EXPECT_THAT(nearest_names("", kPolicies, 3), IsEmpty());
  EXPECT_THAT(nearest_names(std::string(100000, 'x'), kPolicies, 3), IsEmpty());
}

TEST(DidYouMean, ReadsAsTheEndOfASentence) {
  constexpr std::array<std::string_view, 3> kNames{"bat", "cat", "rat"};
  EXPECT_EQ(did_you_mean("hat", kNames), "; did you mean bat, cat or rat?");
  EXPECT_EQ(did_you_mean("ful", kPolicies), "; did you mean full?");
  EXPECT_EQ(did_you_mean("quantize", kPolicies), "");
}

}  // namespace
}  // namespace nextscale
