// SPDX-License-Identifier: Apache-2.0
// Which picture a person means by a size: the nearest of the shapes and sizes that Infinity's
// schedules know. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

struct InfinityPicture {
  double aspect = 1.0;  // height over width, one of infinity_aspects()
  int num_scales = 0;

  bool operator==(const InfinityPicture&) const = default;
};

// What find_infinity_picture() understands, for messages.
inline constexpr std::string_view kInfinityPictureForms =
    "WIDTHxHEIGHT such as 1024x768, a size (0.06M, 0.25M, 0.60M, 1M), or W:H@SIZE such as 4:3@1M";

// Reads "1024x768", "1M" (square) or "4:3@0.25M"; a size may also be a number of scales, as
// "7scales". Nothing if the text is none of these.
std::optional<InfinityPicture> find_infinity_picture(std::string_view text);

// The text that means exactly this picture.
std::string picture_text(const InfinityPicture& picture);

// Coordinates that rotary embeddings see: the cells of a scale spread over the last map of the
// largest size, rounded half to even (specs/infinity.md section 8).
struct RopeCoordinates {
  std::vector<int64_t> rows;     // of each row of the scale
  std::vector<int64_t> columns;  // of each column
};

RopeCoordinates rope_coordinates(double aspect, const Grid& scale);

}  // namespace nextscale
