// SPDX-License-Identifier: Apache-2.0
#include <png.h>

#include "core/error_format.h"
#include "image/png.h"
#include "image/png_file.h"

namespace nextscale {
namespace {

constexpr size_t kChannels = 3;
constexpr size_t kChannelsWithAlpha = 4;

// libpng's simplified reader; it reports errors by value and never jumps.
class Reader {
 public:
  Reader() { image_.version = PNG_IMAGE_VERSION; }
  ~Reader() { png_image_free(&image_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // RGBA bytes, so that alpha can be dropped instead of being blended with a background.
  bool read(std::span<const std::byte> file, std::span<png_byte> rgba) {
    if (png_image_begin_read_from_memory(&image_, file.data(), file.size()) == 0) return false;
    image_.format = PNG_FORMAT_RGBA;
    image_.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    if (PNG_IMAGE_SIZE(image_) != rgba.size()) return false;
    return png_image_finish_read(&image_, nullptr, rgba.data(), 0, nullptr) != 0;
  }
  const char* message() const { return image_.message; }

 private:
  png_image image_{};
};

std::vector<uint8_t> without_alpha(std::span<const png_byte> rgba) {
  std::vector<uint8_t> rgb;
  rgb.reserve(rgba.size() / kChannelsWithAlpha * kChannels);
  for (size_t at = 0; at < rgba.size(); at += kChannelsWithAlpha) {
    rgb.insert(rgb.end(), rgba.begin() + static_cast<ptrdiff_t>(at),
               rgba.begin() + static_cast<ptrdiff_t>(at + kChannels));
  }
  return rgb;
}

}  // namespace

Image decode_png(std::span<const std::byte> file, std::string_view name) {
  const PngInfo info = read_png_info(file, name);
  if (info.height > kMaxPngPixels / info.width) {
    fail(ErrorCode::kUnsupported, "image: {} has {}x{} pixels, wanted at most {} in all",
         printable(name), info.width, info.height, kMaxPngPixels);
  }
  std::vector<png_byte> rgba(static_cast<size_t>(info.width * info.height) * kChannelsWithAlpha);
  Reader reader;
  if (!reader.read(file, rgba)) {
    fail(ErrorCode::kBadFile, "image: {} could not be decoded: {}; wanted a complete PNG file",
         printable(name), printable(reader.message()));
  }
  return {info.width, info.height, without_alpha(rgba)};
}

Image read_png(const std::filesystem::path& path) {
  return decode_png(read_png_file(path), path.string());
}

}  // namespace nextscale
