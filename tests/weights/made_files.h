// SPDX-License-Identifier: Apache-2.0
// Bytes of small checkpoints, sound and unsound, for the tests of the readers. No state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/random_checkpoint/pickle_writer.h"

namespace nextscale {

// A safetensors file with this header text and so many bytes of data.
std::string made_safetensors(std::string_view header, size_t data_bytes);

// The header text of one tensor named "a".
std::string one_tensor_header(std::string_view dtype, std::string_view shape,
                              std::string_view offsets);

using ZipEntries = std::vector<std::pair<std::string, std::string>>;

// A ZIP of stored entries as they are given, sound or not.
std::string made_zip(const ZipEntries& entries);

// A torch file with this pickle and the storage "0" of 16 bytes 0, 1, 2 …
std::string made_torch(const std::string& pickle, const ZipEntries& more = {});

// The pickle of {"w": tensor} for a window of the storage "0".
std::string one_tensor_pickle(int64_t storage_elements, int64_t offset,
                              const std::vector<int64_t>& sizes,
                              const std::vector<int64_t>& strides, std::string_view key = "0",
                              std::string_view storage_type = "FloatStorage");

// The pickle of {"w": module.name(text)}.
std::string calling_pickle(std::string_view module, std::string_view name, std::string_view text);

// Overwrites bytes of the first central directory record that has `name`, at an offset inside it.
void change_directory(std::string& zip, std::string_view name, size_t offset,
                      std::string_view bytes);

}  // namespace nextscale
