// SPDX-License-Identifier: Apache-2.0
// PNG files: writing a picture with its texts, reading either back. Files are hostile: every length
// and checksum is checked, and sizes are limited before memory is taken.
//
// Equal pictures and texts give equal bytes: level and filter are fixed and no time is stored.
// Not a general PNG library: no animation, no colour management. Thread safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nextscale/image.h"

namespace nextscale {

// Limits that hold for reading, and for writing, so that what was written can be read.
constexpr size_t kMaxPngTexts = 256;
constexpr size_t kMaxPngTextBytes = size_t{1} << 20;        // of one text, decompressed
constexpr size_t kMaxPngTotalTextBytes = size_t{4} << 20;   // of all texts of a file
constexpr int64_t kMaxPngPixels = int64_t{1} << 26;         // of a picture that is decoded
constexpr uintmax_t kMaxPngFileBytes = uintmax_t{1} << 30;  // of a file that is opened

// 8-bit RGB with the texts as iTXt chunks before the pixels. Throws Error(kUsage) if the picture is
// empty or a text is over the limits or not storable (see ImageText).
std::vector<std::byte> encode_png(const Image& image, std::span<const ImageText> texts = {});

// encode_png() into a file that appears complete or not at all. Throws Error(kIo).
void write_png(const std::filesystem::path& path, const Image& image,
               std::span<const ImageText> texts = {});

// What a file says about itself.
struct PngInfo {
  int64_t width = 0;
  int64_t height = 0;
  int bit_depth = 0;
  std::vector<ImageText> texts;  // tEXt, zTXt and iTXt in file order, as UTF-8
};

// Walks the chunks without decoding pixels; pixel data is only checksummed. `name` stands for the
// file in messages. Throws Error(kBadFile).
PngInfo read_png_info(std::span<const std::byte> file, std::string_view name);
// Also throws Error(kNotFound, kIo).
PngInfo read_png_info(const std::filesystem::path& path);
std::vector<ImageText> read_png_texts(const std::filesystem::path& path);

// The value of the first text called `key`.
std::optional<std::string> find_text(std::span<const ImageText> texts, std::string_view key);

// Pixels as 8-bit RGB: grey and palette are expanded, 16 bits cut to 8, alpha is dropped. Throws
// like read_png_info(), and Error(kUnsupported) above kMaxPngPixels.
Image decode_png(std::span<const std::byte> file, std::string_view name);
Image read_png(const std::filesystem::path& path);

}  // namespace nextscale
