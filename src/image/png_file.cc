// SPDX-License-Identifier: Apache-2.0
#include "image/png_file.h"

#include <fstream>

#include "core/error_format.h"
#include "image/png.h"

namespace nextscale {

std::vector<std::byte> read_png_file(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    fail(ErrorCode::kNotFound, "image: there is no file {}", name);
  }
  if (!std::filesystem::is_regular_file(status)) {
    fail(ErrorCode::kIo, "image: {} is not a regular file; name a PNG file", name);
  }
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kMaxPngFileBytes) {
    fail(ErrorCode::kUnsupported, "image: {} has {} bytes, wanted at most {}", name, size,
         kMaxPngFileBytes);
  }
  std::vector<std::byte> bytes(error ? 0 : size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (error || !file) {
    fail(ErrorCode::kIo, "image: could not read {}; check its permissions", name);
  }
  return bytes;
}

}  // namespace nextscale
