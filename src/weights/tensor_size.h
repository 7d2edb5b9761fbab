// SPDX-License-Identifier: Apache-2.0
// Sizes claimed by files, computed without overflow. Thread safe: no state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/dtype.h"

namespace nextscale {

// No tensor of any model comes near this many elements; claims beyond it are damage or malice.
inline constexpr int64_t kMaxTensorElements = int64_t{1} << 40;

// The product of the extents; nothing if one is negative or the product of the non-zero ones
// exceeds kMaxTensorElements.
std::optional<int64_t> checked_num_elements(std::span<const int64_t> extents);

}  // namespace nextscale
