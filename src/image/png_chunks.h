// SPDX-License-Identifier: Apache-2.0
// The chunk structure of a PNG file: lengths, types and checksums, without meaning.
// Borrows the file's bytes. Thread safe: each walk has its own state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace nextscale {

struct PngChunk {
  std::string_view type;            // four ASCII letters
  std::span<const std::byte> data;  // without length, type and checksum
};

// Gives one chunk after the other. Throws Error(kBadFile) naming `name` if the file is no PNG, ends
// early, has a malformed type or a wrong checksum, or does not begin with IHDR.
class PngChunkWalk {
 public:
  PngChunkWalk(std::span<const std::byte> file, std::string_view name);

  // False after IEND; bytes after it are not looked at.
  bool next(PngChunk& chunk);

 private:
  [[noreturn]] void fail_bad(std::string_view problem) const;
  std::span<const std::byte> take(size_t count, std::string_view what);

  std::span<const std::byte> rest_;
  std::string_view name_;
  size_t num_chunks_ = 0;
  bool ended_ = false;
};

// A big-endian 32-bit number; `bytes` has at least four.
uint32_t read_be32(std::span<const std::byte> bytes);

}  // namespace nextscale
