// SPDX-License-Identifier: Apache-2.0
#include "core/pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace nextscale {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

TEST(Pages, AreZeroAndWritableToTheLastByte) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, 2 * kLargePage, 3 * kLargePage + 5}) {
    auto* memory = static_cast<unsigned char*>(map_pages(bytes));
    ASSERT_NE(memory, nullptr);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](unsigned char byte) { return byte == 0; }));
    std::fill_n(memory, bytes, static_cast<unsigned char>(7));
    EXPECT_EQ(memory[bytes - 1], 7);
    unmap_pages(memory, bytes);
  }
}

TEST(Pages, LargePiecesBeginAtLargePages) {
  constexpr size_t kBytes = 5 * kLargePage + 100;
  void* memory = map_pages(kBytes);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % kLargePage, 0U);
  unmap_pages(memory, kBytes);
}

TEST(Pages, GiveNullWhereThereIsNoMemory) {
  EXPECT_EQ(map_pages(std::numeric_limits<size_t>::max() / 4), nullptr);
}

TEST(Pages, GiveNullForSizesThatCannotBeRoundedUp) {
  EXPECT_EQ(map_pages(std::numeric_limits<size_t>::max() - 10), nullptr);
}

}  // namespace
}  // namespace nextscale
