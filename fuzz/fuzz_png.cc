// SPDX-License-Identifier: Apache-2.0
// The metadata reader and, for small pictures, the decoder. Inputs are read as they are and again
// with their checksums repaired, since hardly any mutation would get past those.
#include <zlib.h>

#include <cstdint>
#include <vector>

#include "image/png.h"
#include "image/png_chunks.h"
#include "nextscale/error.h"

namespace nextscale {
namespace {

constexpr size_t kSignatureBytes = 8;
constexpr size_t kPrefixBytes = 8;  // length and type of a chunk
constexpr size_t kChecksumBytes = 4;
constexpr int64_t kMaxFuzzedPixels = 1 << 16;

void repair_checksums(std::span<std::byte> file) {
  for (size_t at = kSignatureBytes; at + kPrefixBytes + kChecksumBytes <= file.size();) {
    const size_t length = read_be32(file.subspan(at));
    if (length > file.size() - at - kPrefixBytes - kChecksumBytes) return;
    const auto* checked = reinterpret_cast<const Bytef*>(file.data() + at + 4);
    const uLong checksum = crc32_z(0, checked, 4 + length);
    at += kPrefixBytes + length;
    for (const int shift : {24, 16, 8, 0}) {
      file[at++] = static_cast<std::byte>(checksum >> shift & 0xff);
    }
  }
}

void read(std::span<const std::byte> file) {
  try {
    const PngInfo info = read_png_info(file, "fuzzed");
    if (info.height <= kMaxFuzzedPixels / info.width) decode_png(file, "fuzzed");
  } catch (const Error&) {
    // What a malformed file should give.
  }
}

}  // namespace
}  // namespace nextscale

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  nextscale::read(bytes);
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  nextscale::repair_checksums(repaired);
  nextscale::read(repaired);
  return 0;
}
