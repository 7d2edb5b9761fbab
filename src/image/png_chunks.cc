// SPDX-License-Identifier: Apache-2.0
#include "image/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr std::array<uint8_t, 8> kSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr size_t kTypeBytes = 4;
constexpr uint32_t kMaxChunkBytes = 0x7fffffff;  // PNG specification, 5.3

bool is_letter(char symbol) {
  return (symbol >= 'A' && symbol <= 'Z') || (symbol >= 'a' && symbol <= 'z');
}

uint32_t checksum(std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  return static_cast<uint32_t>(crc32_z(0, data, bytes.size()));
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool same_byte(uint8_t left, std::byte right) { return std::byte{left} == right; }

}  // namespace

uint32_t read_be32(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (const std::byte byte : bytes.first(4)) value = value << 8 | std::to_integer<uint32_t>(byte);
  return value;
}

PngChunkWalk::PngChunkWalk(std::span<const std::byte> file, std::string_view name)
    : rest_(file), name_(name) {
  const size_t length = std::min(file.size(), kSignature.size());
  if (length < kSignature.size() ||
      !std::ranges::equal(kSignature, file.first(length), same_byte)) {
    fail_bad("does not begin as a PNG file does");
  }
  rest_ = file.subspan(kSignature.size());
}

bool PngChunkWalk::next(PngChunk& chunk) {
  if (ended_) return false;
  const uint32_t length = read_be32(take(sizeof(uint32_t), "the length of a chunk"));
  if (length > kMaxChunkBytes) fail_bad(fmt::format("has a chunk of {} bytes", length));
  const std::span<const std::byte> checked =
      rest_.first(std::min(rest_.size(), kTypeBytes + length));
  chunk.type = as_text(take(kTypeBytes, "the type of a chunk"));
  if (!std::ranges::all_of(chunk.type, is_letter)) {
    fail_bad(fmt::format("has a chunk of the malformed type \"{}\"", printable(chunk.type)));
  }
  chunk.data = take(length, chunk.type);
  if (read_be32(take(sizeof(uint32_t), chunk.type)) != checksum(checked)) {
    fail_bad(fmt::format("has a wrong checksum in its {} chunk", chunk.type));
  }
  if ((num_chunks_++ == 0) != (chunk.type == "IHDR")) fail_bad("does not have IHDR first and once");
  ended_ = chunk.type == "IEND";
  return true;
}

std::span<const std::byte> PngChunkWalk::take(size_t count, std::string_view what) {
  if (count > rest_.size()) {
    fail_bad(fmt::format("ends inside {}: {} bytes are missing", what, count - rest_.size()));
  }
  const std::span<const std::byte> taken = rest_.first(count);
  rest_ = rest_.subspan(count);
  return taken;
}

void PngChunkWalk::fail_bad(std::string_view problem) const {
  fail(ErrorCode::kBadFile, "image: {} {}; wanted a complete PNG file", printable(name_), problem);
}

}  // namespace nextscale
