// SPDX-License-Identifier: Apache-2.0
// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Thread
// safe: no state.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace nextscale {

// Bytes of the sequence at the front of `text`, which is not empty; 0 if it is not well formed.
size_t utf8_sequence_bytes(std::string_view text);

// Where the first byte lies that is not part of a well-formed sequence; nothing if all is well.
std::optional<size_t> first_invalid_utf8(std::string_view text);

}  // namespace nextscale
