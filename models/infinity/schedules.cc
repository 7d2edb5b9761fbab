// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/schedules.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error_format.h"

namespace nextscale {
namespace {

using Sides = std::array<int64_t, kInfinityScales>;

struct Template {
  double aspect;
  Sides heights;
  Sides widths;
};

// Square and upright shapes (the official repository's table); lying ones swap height and width.
constexpr std::array<Template, 8> kTemplates{{
    {1.0,
     {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64},
     {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64}},
    {1.25,
     {1, 2, 3, 5, 10, 15, 20, 25, 30, 35, 45, 55, 70},
     {1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 36, 44, 56}},
    {1.333,
     {1, 2, 4, 8, 12, 16, 20, 24, 28, 36, 48, 60, 72},
     {1, 2, 3, 6, 9, 12, 15, 18, 21, 27, 36, 45, 54}},
    {1.5,
     {1, 2, 3, 6, 9, 15, 21, 27, 33, 39, 48, 63, 78},
     {1, 2, 2, 4, 6, 10, 14, 18, 22, 26, 32, 42, 52}},
    {1.75,
     {1, 2, 3, 7, 11, 14, 21, 28, 35, 42, 56, 70, 84},
     {1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48}},
    {2.0,
     {1, 2, 4, 6, 10, 16, 22, 30, 38, 46, 60, 74, 90},
     {1, 2, 2, 3, 5, 8, 11, 15, 19, 23, 30, 37, 45}},
    {2.5,
     {1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 65, 80, 100},
     {1, 2, 2, 4, 6, 8, 10, 12, 16, 20, 26, 32, 40}},
    {3.0,
     {1, 2, 6, 9, 15, 21, 27, 36, 45, 54, 72, 90, 111},
     {1, 2, 2, 3, 5, 7, 9, 12, 15, 18, 24, 30, 37}},
}};

constexpr std::array<InfinitySize, 4> kSizes{{
    {"0.06M", 7, 256},
    {"0.25M", 10, 512},
    {"0.60M", 12, 768},
    {"1M", kInfinityScales, 1024},
}};

// Lying shapes are named by floor(1000 / aspect) / 1000 of the upright one.
constexpr std::array<double, 15> kAspects{1.0,   1.25, 0.8, 1.333, 0.75, 1.5, 0.666, 1.75,
                                          0.571, 2.0,  0.5, 2.5,   0.4,  3.0, 0.333};

// The square, then each upright shape followed by the lying one.
std::vector<Grid> maps_of(size_t shape, int num_scales) {
  const Template& upright = kTemplates[(shape + 1) / 2];
  const bool is_lying = shape > 0 && shape % 2 == 0;
  const Sides& heights = is_lying ? upright.widths : upright.heights;
  const Sides& widths = is_lying ? upright.heights : upright.widths;
  std::vector<Grid> maps;
  for (size_t scale = 0; scale < static_cast<size_t>(num_scales); ++scale) {
    maps.push_back({heights[scale], widths[scale]});
  }
  return maps;
}

size_t nearest_shape(double aspect) {
  const auto distance = [aspect](double shape) { return std::abs(aspect - shape); };
  const auto* const nearest = std::ranges::min_element(kAspects, {}, distance);
  return static_cast<size_t>(nearest - kAspects.begin());
}

}  // namespace

std::span<const InfinitySize> infinity_sizes() { return kSizes; }

std::span<const double> infinity_aspects() { return kAspects; }

double nearest_infinity_aspect(double aspect) { return kAspects[nearest_shape(aspect)]; }

std::vector<Grid> infinity_schedule(double aspect, int num_scales) {
  NEXTSCALE_ASSERT(num_scales >= 1 && num_scales <= kInfinityScales);
  return maps_of(nearest_shape(aspect), num_scales);
}

}  // namespace nextscale
