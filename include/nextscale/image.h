// SPDX-License-Identifier: Apache-2.0
// A picture as values: 8-bit RGB in memory, and the named texts that travel with it in a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nextscale {

struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]

  bool operator==(const Image&) const = default;
};

// One text chunk of a picture file: a recipe for people under "parameters", the same for programs
// (JSON) under "nextscale".
struct ImageText {
  std::string key;    // 1 to 79 printable ASCII characters
  std::string value;  // UTF-8 without NUL

  bool operator==(const ImageText&) const = default;
};

}  // namespace nextscale
