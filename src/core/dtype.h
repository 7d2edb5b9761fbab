// SPDX-License-Identifier: Apache-2.0
// Element types and the conversions between 16-bit floats and f32. Thread safe: no state.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nextscale {

enum class DType : uint8_t { kF32, kBF16, kF16, kI8, kU8, kI32, kI64, kBool };

// Bytes of one element.
size_t dtype_bytes(DType dtype);

// "f32", "bf16", "f16", "i8", "u8", "i32", "i64", "bool".
std::string_view dtype_name(DType dtype);

// The inverse of dtype_name; nothing for an unknown name.
std::optional<DType> parse_dtype(std::string_view name);

// A bfloat16 value: the upper half of an f32.
struct BFloat16 {
  uint16_t bits;
};

inline float to_f32(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Rounds to nearest, ties to even; NaN stays NaN.
inline BFloat16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

// IEEE binary16, given as its bits, to f32 (exact).
float f16_bits_to_f32(uint16_t bits);

}  // namespace nextscale
