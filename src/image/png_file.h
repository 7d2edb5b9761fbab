// SPDX-License-Identifier: Apache-2.0
// The bytes of a file that is meant to be a PNG.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace nextscale {

// Throws Error(kNotFound) if there is no such file, Error(kIo) if it is not a regular file or
// cannot be read, and Error(kUnsupported) above kMaxPngFileBytes.
std::vector<std::byte> read_png_file(const std::filesystem::path& path);

}  // namespace nextscale
