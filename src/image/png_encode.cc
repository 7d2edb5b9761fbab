// SPDX-License-Identifier: Apache-2.0
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <new>

#include "core/atomic_file.h"
#include "core/error_format.h"
#include "image/png.h"

namespace nextscale {
namespace {

constexpr size_t kChannels = 3;
constexpr int kBitDepth = 8;
constexpr int kCompressionLevel = 6;  // zlib's default, fixed here so that bytes stay the same
constexpr size_t kMaxKeyBytes = 79;   // PNG specification, 11.3.4.2
constexpr size_t kMaxMessageBytes = 200;

// What libpng's callbacks need. Lives outside the function that calls setjmp, so that nothing with
// a destructor is skipped by the jump.
struct Sink {
  std::vector<std::byte> bytes;
  std::array<char, kMaxMessageBytes> message{};
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* sink = static_cast<Sink*>(png_get_error_ptr(png));
  std::snprintf(sink->message.data(), sink->message.size(), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_write(png_structp png, png_bytep data, size_t size) {
  auto* sink = static_cast<Sink*>(png_get_io_ptr(png));
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  try {
    sink->bytes.insert(sink->bytes.end(), bytes, bytes + size);
  } catch (const std::bad_alloc&) {
    png_error(png, "out of memory");
  }
}

void on_flush(png_structp) {}

// Owns libpng's state.
class Writer {
 public:
  explicit Writer(Sink& sink)
      : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, on_error, on_warning)) {
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ != nullptr) png_set_write_fn(png_, &sink, on_write, on_flush);
  }
  ~Writer() { png_destroy_write_struct(&png_, &info_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  bool write(const Image& image, std::span<const png_text> texts) {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    write_header(image, texts);
    const size_t row_bytes = static_cast<size_t>(image.width) * kChannels;
    for (size_t at = 0; at < image.rgb.size(); at += row_bytes) {
      png_write_row(png_, image.rgb.data() + at);
    }
    png_write_end(png_, info_);
    return true;
  }

 private:
  void write_header(const Image& image, std::span<const png_text> texts) {
    png_set_compression_level(png_, kCompressionLevel);
    png_set_filter(png_, PNG_FILTER_TYPE_BASE, PNG_FILTER_PAETH);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), kBitDepth, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_text(png_, info_, texts.data(), static_cast<int>(texts.size()));
    png_write_info(png_, info_);
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

void require_encodable(const Image& image) {
  const bool sized = image.width > 0 && image.height > 0 && image.width <= PNG_UINT_31_MAX &&
                     image.height <= kMaxPngPixels / image.width;
  if (sized && image.rgb.size() == static_cast<size_t>(image.width * image.height) * kChannels) {
    return;
  }
  fail(ErrorCode::kUsage,
       "image: got a picture of {}x{} pixels with {} bytes, wanted three bytes per pixel and at "
       "most {} pixels",
       image.width, image.height, image.rgb.size(), kMaxPngPixels);
}

bool is_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKeyBytes && key.front() != ' ' && key.back() != ' ' &&
         key.find("  ") == std::string_view::npos &&
         std::ranges::all_of(key, [](char letter) { return letter >= ' ' && letter <= '~'; });
}

void require_storable(std::span<const ImageText> texts) {
  size_t total_bytes = 0;
  for (const ImageText& text : texts) {
    if (!is_key(text.key)) {
      fail(ErrorCode::kUsage, "image: got the text name \"{}\", wanted 1 to {} printable letters",
           printable(text.key), kMaxKeyBytes);
    }
    if (text.value.find('\0') != std::string::npos) {
      fail(ErrorCode::kUsage, "image: the text {} has a NUL character, which PNG cannot store",
           text.key);
    }
    total_bytes += text.value.size();
    if (text.value.size() > kMaxPngTextBytes || total_bytes > kMaxPngTotalTextBytes) {
      fail(ErrorCode::kUsage, "image: the text {} has {} bytes, wanted at most {} and {} in all",
           text.key, text.value.size(), kMaxPngTextBytes, kMaxPngTotalTextBytes);
    }
  }
  if (texts.size() > kMaxPngTexts) {
    fail(ErrorCode::kUsage, "image: got {} texts, wanted at most {}", texts.size(), kMaxPngTexts);
  }
}

// Borrows from `texts`; libpng asks for mutable pointers but only reads.
std::vector<png_text> png_texts(std::span<const ImageText> texts) {
  std::vector<png_text> result(texts.size());
  for (size_t index = 0; index < texts.size(); ++index) {
    result[index] = {};
    result[index].compression = PNG_ITXT_COMPRESSION_NONE;
    result[index].key = const_cast<char*>(texts[index].key.c_str());
    result[index].text = const_cast<char*>(texts[index].value.c_str());
    result[index].itxt_length = texts[index].value.size();
  }
  return result;
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, std::span<const ImageText> texts) {
  require_encodable(image);
  require_storable(texts);
  Sink sink;
  Writer writer(sink);
  if (!writer.write(image, png_texts(texts))) {
    fail(ErrorCode::kMemory, "image: could not encode a picture of {}x{} pixels: {}", image.width,
         image.height, sink.message.data());
  }
  return std::move(sink.bytes);
}

void write_png(const std::filesystem::path& path, const Image& image,
               std::span<const ImageText> texts) {
  const std::vector<std::byte> bytes = encode_png(image, texts);
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace nextscale
