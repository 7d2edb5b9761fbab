// SPDX-License-Identifier: Apache-2.0
#include "judge/expectation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error_format.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

const JudgeLabels kLabels{.classes = {"cat", "dog", "red apple"},
                          .colors = {"red", "green", "blue"},
                          .relations = {"left of", "right of", "above", "below"}};
constexpr int64_t kCat = 0;
constexpr int64_t kDog = 1;
constexpr int64_t kApple = 2;

Expectation parsed(const std::string& text) {
  return parse_expectation(nlohmann::json::parse(text), kLabels, "line 3");
}

std::string complaint(const std::string& text) {
  try {
    parsed(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

SeenSprite at(int64_t class_index, double x, double y) {
  return {.class_index = class_index,
          .x = static_cast<float>(x),
          .y = static_cast<float>(y),
          .score = 0.9F};
}

SeenPicture seen(std::vector<SeenSprite> sprites, int64_t color = 0) {
  SeenPicture picture{
      .sprites = std::move(sprites), .class_scores = {}, .color_scores = {0, 0, 0}, .features = {}};
  picture.color_scores[static_cast<size_t>(color)] = 1;
  return picture;
}

std::optional<bool> seen_as(const std::string& expected, Attribute attribute,
                            const SeenPicture& picture) {
  return check(parsed(expected), picture, kLabels)[static_cast<size_t>(attribute)];
}

const std::string kOneDog = R"({"kind": "single", "sprites": ["dog"], "color": "green"})";
const std::string kCatLeftOfDog =
    R"({"kind": "pair", "sprites": ["cat", "dog"], "relation": "left of"})";
const std::string kThreeDogs = R"({"kind": "count", "sprites": ["dog", "dog", "dog"]})";
const std::string kGroup = R"({"kind": "group", "sprites": ["dog", "cat", "red apple"]})";

TEST(Expectation, IsReadByNames) {
  const Expectation pair = parsed(
      R"({"kind": "pair", "sprites": ["red apple", "cat"], "relation": "below", "color": "blue",
          "prompt": "not looked at"})");
  EXPECT_EQ(pair,
            (Expectation{
                .kind = SceneKind::kPair, .sprites = {kApple, kCat}, .relation = 3, .color = 2}));
}

TEST(Expectation, RefusesWhatContradictsItself) {
  EXPECT_THAT(complaint("{}"), HasSubstr("line 3: \"kind\" is absent, wanted \"single\""));
  EXPECT_THAT(complaint(R"({"kind": "single"})"), HasSubstr("\"sprites\" is absent"));
  EXPECT_THAT(complaint(R"({"kind": "single", "sprites": ["cat", "dog"]})"),
              HasSubstr("wanted one name"));
  EXPECT_THAT(complaint(R"({"kind": "pair", "sprites": ["cat", "cat"]})"),
              HasSubstr("two different names"));
  EXPECT_THAT(complaint(R"({"kind": "count", "sprites": ["cat", "dog"]})"),
              HasSubstr("one name, repeated"));
  EXPECT_THAT(complaint(R"({"kind": "single", "sprites": ["cat"], "relation": "above"})"),
              HasSubstr("wanted none but for a \"pair\""));
  EXPECT_THAT(complaint(R"({"kind": "single", "sprites": [7]})"), HasSubstr("names in quotes"));
}

TEST(Expectation, RefusesNamesThatTheJudgeDoesNotKnow) {
  EXPECT_THAT(complaint(R"({"kind": "single", "sprites": ["dogg"]})"),
              HasSubstr("names 'dogg', which this judge does not know; did you mean"));
  EXPECT_THAT(complaint(R"({"kind": "single", "sprites": ["dog"], "color": "mauve"})"),
              HasSubstr("names 'mauve'"));
}

TEST(Class, IsTheBestOfAllHoweverLowItsScore) {
  SeenPicture picture = seen({});
  picture.class_scores = {-3, -3, -3};
  picture.class_scores[kDog] = -2;
  EXPECT_EQ(seen_as(kOneDog, Attribute::kClass, picture), true);
  EXPECT_EQ(seen_as(kOneDog, Attribute::kSingle, picture), false);
  picture.class_scores[kCat] = 5;
  EXPECT_EQ(seen_as(kOneDog, Attribute::kClass, picture), false);
  EXPECT_EQ(seen_as(kThreeDogs, Attribute::kClass, picture), std::nullopt);
}

TEST(Single, IsTheBestSprite) {
  EXPECT_EQ(seen_as(kOneDog, Attribute::kSingle, seen({at(kDog, 0.5, 0.5), at(kCat, 0.1, 0.1)})),
            true);
  EXPECT_EQ(seen_as(kOneDog, Attribute::kSingle, seen({at(kCat, 0.5, 0.5), at(kDog, 0.1, 0.1)})),
            false);
  EXPECT_EQ(seen_as(kOneDog, Attribute::kSingle, seen({})), false);
  EXPECT_EQ(seen_as(kGroup, Attribute::kSingle, seen({})), std::nullopt);
}

TEST(Two, AreBothThere) {
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kTwo,
                    seen({at(kApple, 0.5, 0.5), at(kDog, 0.1, 0.1), at(kCat, 0.9, 0.9)})),
            true);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kTwo, seen({at(kDog, 0.1, 0.1)})), false);
  EXPECT_EQ(seen_as(kOneDog, Attribute::kTwo, seen({})), std::nullopt);
}

TEST(Count, IsExactAndOfTheClass) {
  const SeenSprite dog = at(kDog, 0.5, 0.5);
  EXPECT_EQ(seen_as(kThreeDogs, Attribute::kCount, seen({dog, dog, dog})), true);
  EXPECT_EQ(seen_as(kThreeDogs, Attribute::kCount, seen({dog, dog})), false);
  EXPECT_EQ(seen_as(kThreeDogs, Attribute::kCount, seen({dog, dog, at(kCat, 0.1, 0.1)})), false);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kCount, seen({})), std::nullopt);
}

TEST(Position, IsThatOfTheBestOfEach) {
  const SeenSprite cat = at(kCat, 0.2, 0.5);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kPosition,
                    seen({cat, at(kDog, 0.8, 0.5), at(kDog, 0.1, 0.5)})),
            true);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kPosition, seen({cat, at(kDog, 0.1, 0.5)})), false);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kPosition, seen({cat})), false);
  EXPECT_EQ(
      seen_as(R"({"kind": "pair", "sprites": ["cat", "dog"]})", Attribute::kPosition, seen({cat})),
      std::nullopt);
}

TEST(Position, RelationsLeadMoreThanTheyStray) {
  const SeenSprite middle = at(kCat, 0.5, 0.5);
  EXPECT_TRUE(relation_holds("left of", middle, at(kDog, 0.75, 0.25)));  // as far down as right
  EXPECT_FALSE(relation_holds("left of", middle, at(kDog, 0.7, 0.2)));
  EXPECT_FALSE(relation_holds("left of", middle, middle));
  EXPECT_TRUE(relation_holds("right of", middle, at(kDog, 0.2, 0.5)));
  EXPECT_TRUE(relation_holds("above", middle, at(kDog, 0.5, 0.9)));
  EXPECT_TRUE(relation_holds("below", middle, at(kDog, 0.5, 0.1)));
  EXPECT_FALSE(relation_holds("below", middle, at(kDog, 0.5, 0.9)));
}

TEST(Color, IsTheLikeliest) {
  EXPECT_EQ(seen_as(kOneDog, Attribute::kColor, seen({}, 1)), true);
  EXPECT_EQ(seen_as(kOneDog, Attribute::kColor, seen({}, 2)), false);
  EXPECT_EQ(seen_as(kGroup, Attribute::kColor, seen({}, 2)), std::nullopt);
}

TEST(All, AreExactlyTheSprites) {
  const SeenSprite cat = at(kCat, 0.2, 0.5);
  const SeenSprite dog = at(kDog, 0.8, 0.5);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kAll, seen({dog, cat})), true);
  EXPECT_EQ(seen_as(kCatLeftOfDog, Attribute::kAll, seen({dog, cat, cat})), false);
  EXPECT_EQ(seen_as(kGroup, Attribute::kAll, seen({dog, cat, at(kApple, 0.5, 0.1)})), true);
}

TEST(FindClass, ReadsUnderscoresAsSpaces) {
  EXPECT_EQ(find_class(kLabels, "red_apple"), kApple);
  EXPECT_EQ(find_class(kLabels, "red apple"), kApple);
  EXPECT_EQ(find_class(kLabels, "pear"), std::nullopt);
}

}  // namespace
}  // namespace nextscale
