// SPDX-License-Identifier: Apache-2.0
#include "core/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace nextscale {
namespace {

TEST(Utf8, AcceptsEveryLength) {
  EXPECT_EQ(first_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("cat \xc3\xa9 \xe7\x8c\xab \xf0\x9f\x98\x80"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8(std::string("a\0b", 3)), std::nullopt);
}

TEST(Utf8, SaysWhereItEnds) {
  EXPECT_EQ(first_invalid_utf8("\xff"), 0U);
  EXPECT_EQ(first_invalid_utf8("cat \xc3"), 4U);           // cut
  EXPECT_EQ(first_invalid_utf8("ab\xc0\xaf"), 2U);         // overlong
  EXPECT_EQ(first_invalid_utf8("\xed\xa0\x80"), 0U);       // surrogate
  EXPECT_EQ(first_invalid_utf8("x\xf4\x90\x80\x80"), 1U);  // above U+10FFFF
}

}  // namespace
}  // namespace nextscale
