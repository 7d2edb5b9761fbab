// SPDX-License-Identifier: Apache-2.0
#include "models/var/imagenet_classes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nextscale/error.h"

namespace nextscale {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kNumClasses = 1000;

// Of a model with ImageNet's names if it has so many classes, else without names.
int64_t resolve_class(std::string_view text, int64_t num_classes) {
  static const std::vector<std::string> names = imagenet_class_names();
  if (num_classes != kNumClasses) return nextscale::resolve_class(text, num_classes, {});
  return nextscale::resolve_class(text, num_classes, names);
}

// What resolving throws, as "code: message".
std::string error_of(std::string_view text, int64_t num_classes = kNumClasses) {
  try {
    return "resolved to " + std::to_string(resolve_class(text, num_classes));
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + ": " + error.what();
  }
}

TEST(ImagenetNames, StandAtTheIndicesOfTheChallenge) {
  EXPECT_EQ(imagenet_names()[0], "tench, Tinca tinca");
  EXPECT_EQ(imagenet_names()[22], "bald eagle, American eagle, Haliaeetus leucocephalus");
  EXPECT_EQ(imagenet_names()[281], "tabby, tabby cat");
  EXPECT_EQ(imagenet_names()[437], "beacon, lighthouse, beacon light, pharos");
  EXPECT_EQ(imagenet_names()[562], "fountain");
  EXPECT_EQ(imagenet_names()[980], "volcano");
  EXPECT_EQ(imagenet_names()[999], "toilet tissue, toilet paper, bathroom tissue");
}

TEST(ResolveClass, TakesAnIndex) {
  EXPECT_EQ(resolve_class("0", kNumClasses), 0);
  EXPECT_EQ(resolve_class("999", kNumClasses), 999);
  EXPECT_EQ(resolve_class("7", 8), 7);
}

TEST(ResolveClass, TakesAnyOfTheNames) {
  EXPECT_EQ(resolve_class("tabby", kNumClasses), 281);
  EXPECT_EQ(resolve_class("Tabby Cat", kNumClasses), 281);
  EXPECT_EQ(resolve_class("egyptian_cat", kNumClasses), 285);
  EXPECT_EQ(resolve_class("Tinca tinca", kNumClasses), 0);
}

TEST(ResolveClass, PrefersAMainNameToAFurtherName) {
  EXPECT_EQ(resolve_class("partridge", kNumClasses), 86);
  EXPECT_EQ(resolve_class("harp", kNumClasses), 594);
}

TEST(ResolveClass, TakesAPartThatOnlyOneClassHas) {
  EXPECT_EQ(resolve_class("haliaeetus", kNumClasses), 22);
}

TEST(ResolveClass, TakesAllNamesOfAClass) {
  EXPECT_EQ(resolve_class("maillot, tank suit", kNumClasses), 639);
}

TEST(ResolveClass, ListsTheClassesOfANameThatSeveralHave) {
  EXPECT_THAT(error_of("crane"), AllOf(HasSubstr("2: "), HasSubstr("134"), HasSubstr("517")));
  EXPECT_THAT(error_of("maillot"), AllOf(HasSubstr("2: "), HasSubstr("638"), HasSubstr("639")));
  EXPECT_THAT(error_of("panda"), AllOf(HasSubstr("387"), HasSubstr("388")));
}

TEST(ResolveClass, ShortensLongLists) { EXPECT_THAT(error_of("dog"), HasSubstr("more;")); }

TEST(ResolveClass, SuggestsTheNearestName) {
  EXPECT_THAT(error_of("tabbby"), AllOf(HasSubstr("3: "), HasSubstr("did you mean tabby")));
  EXPECT_THAT(error_of("xqzwv"), AllOf(HasSubstr("3: "), HasSubstr("give an index")));
}

TEST(ResolveClass, IndexOutOfRangeIsNotFound) {
  EXPECT_THAT(error_of("1000"), AllOf(HasSubstr("3: "), HasSubstr("wanted 0 to 999")));
  EXPECT_THAT(error_of("-1"), HasSubstr("3: "));
}

TEST(ResolveClass, OtherModelsHaveNoNames) {
  EXPECT_THAT(error_of("tabby", 8), AllOf(HasSubstr("2: "), HasSubstr("have no names")));
}

TEST(ResolveClass, ReadsAModelsOwnNames) {
  const std::vector<std::string> names{"dog, puppy", "red apple"};
  EXPECT_EQ(nextscale::resolve_class("puppy", 2, names), 0);
  EXPECT_EQ(nextscale::resolve_class("red_apple", 2, names), 1);
}

TEST(MainName, IsTheFirst) {
  EXPECT_EQ(main_name("tench, Tinca tinca"), "tench");
  EXPECT_EQ(main_name("stingray"), "stingray");
}

TEST(ResolveClass, EmptyTextAndOverflowAreRefused) {
  EXPECT_THAT(error_of(""), HasSubstr("2: "));
  EXPECT_THAT(error_of("99999999999999999999"), HasSubstr("3: "));
}

TEST(ResolveClass, EveryClassIsReachedByItsNames) {
  for (size_t index = 0; index < kNumImagenetClasses; ++index) {
    const std::string_view names = imagenet_names()[index];
    if (names.find(", ") == std::string_view::npos) continue;
    EXPECT_EQ(resolve_class(names, kNumClasses), static_cast<int64_t>(index)) << names;
  }
}

}  // namespace
}  // namespace nextscale
