// SPDX-License-Identifier: Apache-2.0
// The JSON header of a safetensors file, as text ↔ entries. Knows the grammar and nothing of the
// data behind it; safetensors.cc checks the offsets. Thread safe: no state.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale {

// One tensor as the header claims it. Nothing but the grammar has been checked.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> offsets;  // begin and end, from the start of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Throws Error(kBadFile) naming `where`, kUnsupported for a tensor of too many dimensions.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::string_view where);

// The header text for tensors that lie one after the other.
std::string safetensors_header_text(const std::vector<TensorInfo>& tensors,
                                    const std::map<std::string, std::string>& metadata);

// "F32" etc.; nothing for a type that this engine does not know.
std::optional<DType> parse_safetensors_dtype(std::string_view name);
// Bytes of one element of any type of the format, known to this engine or not; 0 if it is unheard
// of.
size_t safetensors_dtype_bytes(std::string_view name);

}  // namespace nextscale
