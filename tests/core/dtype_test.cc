// SPDX-License-Identifier: Apache-2.0
#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nextscale {
namespace {

constexpr uint32_t kNumPatterns = 65536;

// The value of a 16-bit float by its definition.
double defined_value(uint32_t bits, int mantissa_bits, int exponent_bits) {
  const uint32_t mantissa = bits & ((1U << mantissa_bits) - 1);
  const uint32_t max_exponent = (1U << exponent_bits) - 1;
  const uint32_t exponent = bits >> mantissa_bits & max_exponent;
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int bias = static_cast<int>(max_exponent / 2);
  if (exponent == max_exponent) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, static_cast<int>(exponent) - bias);
}

void expect_same(float got, double wanted, uint32_t bits) {
  if (std::isnan(wanted)) {
    EXPECT_TRUE(std::isnan(got)) << std::hex << bits;
    return;
  }
  EXPECT_EQ(got, static_cast<float>(wanted)) << std::hex << bits;
  EXPECT_EQ(std::signbit(got), std::signbit(wanted)) << std::hex << bits;
}

TEST(F16, EveryPatternHasItsDefinedValue) {
  for (uint32_t bits = 0; bits < kNumPatterns; ++bits) {
    expect_same(f16_bits_to_f32(static_cast<uint16_t>(bits)), defined_value(bits, 10, 5), bits);
  }
}

TEST(BFloat16, EveryPatternHasItsDefinedValue) {
  for (uint32_t bits = 0; bits < kNumPatterns; ++bits) {
    expect_same(to_f32(BFloat16{static_cast<uint16_t>(bits)}), defined_value(bits, 7, 8), bits);
  }
}

TEST(BFloat16, EveryPatternSurvivesTheWayThroughF32) {
  for (uint32_t bits = 0; bits < kNumPatterns; ++bits) {
    const float value = to_f32(BFloat16{static_cast<uint16_t>(bits)});
    const uint16_t back = to_bf16(value).bits;
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_f32(BFloat16{back}))) << std::hex << bits;
    } else {
      EXPECT_EQ(back, bits) << std::hex << bits;
    }
  }
}

// Between two neighbours the nearer one is taken, and the even one from the exact middle.
TEST(BFloat16, RoundsToNearestEvenFromEveryPattern) {
  constexpr uint32_t kHalf = 0x8000;
  for (uint32_t upper = 0; upper < 0x7f80; ++upper) {
    const uint32_t exact = upper << 16;
    const auto rounded = [](uint32_t bits) { return to_bf16(std::bit_cast<float>(bits)).bits; };
    EXPECT_EQ(rounded(exact | (kHalf - 1)), upper);
    EXPECT_EQ(rounded(exact | kHalf), upper + (upper & 1));
    EXPECT_EQ(rounded(exact | (kHalf + 1)), upper + 1);
    EXPECT_EQ(rounded(exact | (kHalf + 1) | 0x80000000U), (upper + 1) | 0x8000U);
  }
}

TEST(BFloat16, EveryKindOfNanStaysNan) {
  for (const uint32_t bits : {0x7f800001U, 0x7fc00000U, 0x7fffffffU, 0xff800001U, 0xffffffffU}) {
    EXPECT_TRUE(std::isnan(to_f32(to_bf16(std::bit_cast<float>(bits))))) << std::hex << bits;
  }
}

TEST(BFloat16, LargestFloatRoundsToInfinity) {
  EXPECT_TRUE(std::isinf(to_f32(to_bf16(std::numeric_limits<float>::max()))));
}

TEST(DType, NamesAndSizesBelongTogether) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI8, DType::kU8,
                            DType::kI32, DType::kI64, DType::kBool}) {
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(dtype_bytes(DType::kF32), 4U);
  EXPECT_EQ(dtype_bytes(DType::kBF16), 2U);
  EXPECT_EQ(dtype_bytes(DType::kF16), 2U);
  EXPECT_EQ(dtype_bytes(DType::kI8), 1U);
  EXPECT_EQ(dtype_bytes(DType::kU8), 1U);
  EXPECT_EQ(dtype_bytes(DType::kI32), 4U);
  EXPECT_EQ(dtype_bytes(DType::kI64), 8U);
  EXPECT_EQ(dtype_bytes(DType::kBool), 1U);
}

TEST(DType, UnknownNameIsNothing) {
  EXPECT_EQ(parse_dtype("float"), std::nullopt);
  EXPECT_EQ(parse_dtype(""), std::nullopt);
}

}  // namespace
}  // namespace nextscale
