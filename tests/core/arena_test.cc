// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "nextscale/error.h"

namespace nextscale {
namespace {

TEST(Arena, GivesAlignedPiecesThatDoNotOverlap) {
  Arena arena(256, "a test");
  const auto first = arena.take<std::byte>(1);
  const auto second = arena.take<std::byte>(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first.data()) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(second.data()) % 64, 0U);
  EXPECT_GE(second.data(), first.data() + 1);
  std::memset(second.data(), 1, second.size());
}

TEST(Arena, UsesExactlyWhatRoundedPredicts) {
  Arena arena(1024, "a test");
  for (const size_t bytes : {0U, 1U, 63U, 64U, 65U}) {
    const size_t before = arena.mark();
    arena.take_bytes(bytes);
    EXPECT_EQ(arena.mark() - before, Arena::rounded(bytes));
  }
}

TEST(Arena, CanBeFilledToItsLastByte) {
  Arena arena(128, "a test");
  arena.take_bytes(64);
  arena.take_bytes(64);
  EXPECT_EQ(arena.mark(), arena.capacity_bytes());
}

TEST(Arena, ScopeGivesBackWhatWasTakenInside) {
  Arena arena(256, "a test");
  void* inside = nullptr;
  {
    const ArenaScope scope(arena);
    inside = arena.take_bytes(200);
  }
  EXPECT_EQ(arena.mark(), 0U);
  EXPECT_EQ(arena.high_water_bytes(), 256U);
  EXPECT_EQ(arena.take_bytes(1), inside);
}

TEST(Arena, MovingKeepsContentsAndPosition) {
  Arena arena(128, "a test");
  const auto value = arena.take<int>(1);
  value[0] = 42;
  const Arena moved = std::move(arena);
  EXPECT_EQ(moved.mark(), 64U);
  EXPECT_EQ(value[0], 42);
}

TEST(Arena, MoreThanTheSystemHasIsAMemoryErrorThatNamesThePurpose) {
  try {
    const Arena arena(size_t{1} << 62, "the test of large arenas");
    FAIL() << "was granted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMemory);
    EXPECT_NE(std::string(error.what()).find("the test of large arenas"), std::string::npos);
  }
}

TEST(ArenaDeathTest, TakingMoreThanThePlanIsOurMistake) {
  Arena arena(64, "a test");
  EXPECT_DEATH(arena.take_bytes(65), "internal error");
}

}  // namespace
}  // namespace nextscale
