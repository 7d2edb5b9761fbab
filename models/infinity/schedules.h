// SPDX-License-Identifier: Apache-2.0
// The scale schedules of Infinity, which VARGPT-v1.1 and OneCAT share: token maps for fifteen
// shapes of picture, and how many of them each picture size uses. Constant data; thread safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

// Maps of the largest size; smaller sizes use the first of them.
inline constexpr int kInfinityScales = 13;

// Pixels of the picture per token of the last map, in each direction.
inline constexpr int64_t kInfinityPixelsPerToken = 16;

// How large a picture is, as the papers name it ("1M": about a million pixels).
struct InfinitySize {
  std::string_view name;
  int num_scales = 0;
  int64_t square_side = 0;  // pixels of the square picture
};

// 0.06M, 0.25M, 0.60M and 1M, in this order.
std::span<const InfinitySize> infinity_sizes();

// The shapes a picture can have, as height over width, in the order that decides ties.
std::span<const double> infinity_aspects();

// The shape nearest to `aspect`, the earlier one of two equally near.
double nearest_infinity_aspect(double aspect);

// The first `num_scales` maps of the shape nearest to `aspect`.
std::vector<Grid> infinity_schedule(double aspect, int num_scales);

}  // namespace nextscale
