// SPDX-License-Identifier: Apache-2.0
// JSON from files that may be hostile: bounded size and depth, no duplicate keys, errors of one
// sentence. Not for safetensors headers, which have their own streaming reader. Thread safe.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace nextscale {

// Parses `text`. Throws Error(kBadFile) naming `where`.
nlohmann::json parse_json(std::string_view text, std::string_view where);

// Reads a whole small file. Throws Error(kNotFound, kIo), kBadFile if it has more than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, size_t max_bytes);

// What a JSON parser said, without the dump of the input that it appends.
std::string json_reason(const nlohmann::json::exception& exception);

}  // namespace nextscale
