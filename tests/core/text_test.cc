// SPDX-License-Identifier: Apache-2.0
// What is printed to people: untrusted text, bytes, errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error_format.h"
#include "core/memory_info.h"

namespace nextscale {
namespace {

TEST(Printable, LeavesUtf8AsItIs) {
  EXPECT_EQ(printable("tabby cat"), "tabby cat");
  EXPECT_EQ(printable("grün 猫 😀"), "grün 猫 😀");
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xe7\x8c"), "\\xe7\\x8c");                    // cut sequence
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
}

TEST(Printable, CutsLongTexts) {
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_LT(printable(std::string(1 << 20, 'x')).size(), 200U);
}

TEST(FormatBytes, ChoosesTheUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(17), "17 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(655360), "640.0 KiB");
  EXPECT_EQ(format_bytes(size_t{5} << 28), "1.25 GiB");
  EXPECT_EQ(format_bytes(size_t{1} << 50), "1024.00 TiB");
}

TEST(MemoryInfo, IsPlausible) {
  EXPECT_GT(resident_bytes(), 0U);
  EXPECT_GE(peak_resident_bytes(), resident_bytes() / 2);
  EXPECT_GT(available_memory_bytes(), 0U);
}

TEST(Fail, ThrowsTheCodeAndTheFormattedMessage) {
  try {
    fail(ErrorCode::kMismatch, "part: got {}, wanted {}", 1, 2);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMismatch);
    EXPECT_STREQ(error.what(), "part: got 1, wanted 2");
  }
}

}  // namespace
}  // namespace nextscale
