// SPDX-License-Identifier: Apache-2.0
// Builds PNG files chunk by chunk for tests, sound or deliberately not.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nextscale {

inline std::string be32(uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

inline std::string zlib_packed(std::string_view text) {
  uLongf size = compressBound(text.size());
  std::string packed(size, '\0');
  compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
            reinterpret_cast<const Bytef*>(text.data()), text.size(), Z_BEST_COMPRESSION);
  packed.resize(size);
  return packed;
}

class PngBuilder {
 public:
  PngBuilder& raw(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }
  PngBuilder& signature() { return raw(std::string_view("\x89PNG\r\n\x1a\n", 8)); }
  PngBuilder& chunk(std::string_view type, std::string_view data) {
    const std::string checked = std::string(type) + std::string(data);
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size());
    return raw(be32(static_cast<uint32_t>(data.size())))
        .raw(checked)
        .raw(be32(static_cast<uint32_t>(crc)));
  }
  // 8 bits per channel; colour type 0 is grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGBA.
  PngBuilder& header(uint32_t width, uint32_t height, char colour_type = 2, char bit_depth = 8) {
    return chunk("IHDR",
                 be32(width) + be32(height) + bit_depth + colour_type + std::string("\0\0\0", 3));
  }
  // Rows begin with their filter byte.
  PngBuilder& pixels(std::string_view rows) { return chunk("IDAT", zlib_packed(rows)); }
  PngBuilder& end() { return chunk("IEND", ""); }

  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }

 private:
  std::string text_;
};

// The start of a sound 1x1 RGB file; end() completes it.
inline PngBuilder one_pixel() {
  return PngBuilder().signature().header(1, 1).pixels(std::string_view("\0\x01\x02\x03", 4));
}

}  // namespace nextscale
