// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/error_format.h"
#include "image/png.h"
#include "image/png_chunks.h"
#include "image/png_file.h"
#include "image/png_texts.h"

namespace nextscale {
namespace {

constexpr size_t kHeaderBytes = 13;
constexpr uint32_t kMaxSide = 0x7fffffff;  // PNG specification, 11.2.2

void parse_header(const PngChunk& chunk, std::string_view name, PngInfo& info) {
  if (chunk.data.size() != kHeaderBytes) {
    fail(ErrorCode::kBadFile, "image: {} has an IHDR chunk of {} bytes, wanted {}", printable(name),
         chunk.data.size(), kHeaderBytes);
  }
  const uint32_t width = read_be32(chunk.data);
  const uint32_t height = read_be32(chunk.data.subspan(4));
  if (width == 0 || height == 0 || width > kMaxSide || height > kMaxSide) {
    fail(ErrorCode::kBadFile, "image: {} claims {}x{} pixels, wanted sides from 1 to {}",
         printable(name), width, height, kMaxSide);
  }
  info.width = width;
  info.height = height;
  info.bit_depth = std::to_integer<int>(chunk.data[8]);
}

}  // namespace

PngInfo read_png_info(std::span<const std::byte> file, std::string_view name) {
  PngInfo info;
  size_t total_text_bytes = 0;
  PngChunkWalk walk(file, name);
  for (PngChunk chunk; walk.next(chunk);) {
    if (chunk.type == "IHDR") parse_header(chunk, name, info);
    if (!is_text_chunk(chunk)) continue;
    info.texts.push_back(parse_text_chunk(chunk, kMaxPngTextBytes, name));
    total_text_bytes += info.texts.back().value.size();
    if (info.texts.size() > kMaxPngTexts || total_text_bytes > kMaxPngTotalTextBytes) {
      fail(ErrorCode::kBadFile, "image: {} has more than {} texts or {} bytes of text",
           printable(name), kMaxPngTexts, kMaxPngTotalTextBytes);
    }
  }
  return info;
}

PngInfo read_png_info(const std::filesystem::path& path) {
  return read_png_info(read_png_file(path), path.string());
}

std::vector<ImageText> read_png_texts(const std::filesystem::path& path) {
  return read_png_info(path).texts;
}

std::optional<std::string> find_text(std::span<const ImageText> texts, std::string_view key) {
  const auto found = std::ranges::find(texts, key, &ImageText::key);
  if (found == texts.end()) return std::nullopt;
  return found->value;
}

}  // namespace nextscale
