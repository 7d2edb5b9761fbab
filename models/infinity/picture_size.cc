// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/picture_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "models/infinity/schedules.h"

namespace nextscale {
namespace {

constexpr double kMaxSide = 1e6;
constexpr int kFewestScales = 2;
constexpr std::string_view kScalesEnding = "scales";

std::optional<double> positive(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_sound =
      error == std::errc() && end == text.data() + text.size() && value > 0 && value <= kMaxSide;
  return is_sound ? std::optional(value) : std::nullopt;
}

struct Sides {
  double width = 0;
  double height = 0;
};

std::optional<Sides> sides(std::string_view text, char separator) {
  const size_t place = text.find(separator);
  if (place == std::string_view::npos) return std::nullopt;
  const auto width = positive(text.substr(0, place));
  const auto height = positive(text.substr(place + 1));
  return width && height ? std::optional(Sides{*width, *height}) : std::nullopt;
}

std::optional<int> scales_of(std::string_view size) {
  for (const InfinitySize& known : infinity_sizes()) {
    if (size == known.name) return known.num_scales;
  }
  if (!size.ends_with(kScalesEnding)) return std::nullopt;
  const auto count = positive(size.substr(0, size.size() - kScalesEnding.size()));
  const bool is_sound =
      count && *count == std::floor(*count) && *count >= kFewestScales && *count <= kInfinityScales;
  return is_sound ? std::optional(static_cast<int>(*count)) : std::nullopt;
}

// The published size whose picture of this shape has the nearest number of pixels, by ratio.
int nearest_scales(double aspect, double pixels) {
  const auto distance = [&](const InfinitySize& size) {
    const Grid map = infinity_schedule(aspect, size.num_scales).back();
    const double side = kInfinityPixelsPerToken;
    return std::abs(std::log(static_cast<double>(map.tokens()) * side * side / pixels));
  };
  return std::ranges::min_element(infinity_sizes(), {}, distance)->num_scales;
}

std::vector<int64_t> spread(int64_t cells, int64_t reference) {
  const float step = static_cast<float>(reference) / static_cast<float>(cells);
  std::vector<int64_t> result;
  for (int64_t cell = 0; cell < cells; ++cell) {
    // The default rounding mode takes halves to even, as the formula wants.
    result.push_back(std::llrint(static_cast<float>(cell) * step));
  }
  return result;
}

}  // namespace

std::optional<InfinityPicture> find_infinity_picture(std::string_view text) {
  if (const auto pixels = sides(text, 'x')) {
    const double aspect = nearest_infinity_aspect(pixels->height / pixels->width);
    return InfinityPicture{aspect, nearest_scales(aspect, pixels->width * pixels->height)};
  }
  const size_t place = text.find('@');
  const bool has_shape = place != std::string_view::npos;
  const auto shape = has_shape ? sides(text.substr(0, place), ':') : Sides{1, 1};
  const auto scales = scales_of(has_shape ? text.substr(place + 1) : text);
  if (!shape || !scales) return std::nullopt;
  return InfinityPicture{nearest_infinity_aspect(shape->height / shape->width), *scales};
}

std::string picture_text(const InfinityPicture& picture) {
  std::string size = fmt::format("{}{}", picture.num_scales, kScalesEnding);
  for (const InfinitySize& known : infinity_sizes()) {
    if (picture.num_scales == known.num_scales) size = known.name;
  }
  return picture.aspect == 1.0 ? size : fmt::format("1:{}@{}", picture.aspect, size);
}

RopeCoordinates rope_coordinates(double aspect, const Grid& scale) {
  const Grid reference = infinity_schedule(aspect, kInfinityScales).back();
  return {.rows = spread(scale.height, reference.height),
          .columns = spread(scale.width, reference.width)};
}

}  // namespace nextscale
