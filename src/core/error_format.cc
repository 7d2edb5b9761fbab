// SPDX-License-Identifier: Apache-2.0
#include "core/error_format.h"

#include <cstdio>
#include <cstdlib>

namespace nextscale {
namespace {

// Bytes of the UTF-8 sequence at the front of `text`; 0 if it is not well formed.
size_t utf8_sequence_bytes(std::string_view text) {
  const auto byte = [&](size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned lead = byte(0);
  const size_t bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (bytes == 0 || lead > 0xf4 || bytes > text.size()) return 0;
  for (size_t index = 1; index < bytes; ++index) {
    if ((byte(index) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return bytes;
}

}  // namespace

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "nextscale: internal error at %s:%d: %s does not hold\n", file, line,
               condition);
  std::abort();
}

std::string printable(std::string_view text, size_t max_bytes) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    if (result.size() >= max_bytes) return result + "...";
    const size_t bytes = utf8_sequence_bytes(text.substr(at));
    const unsigned char lead = static_cast<unsigned char>(text[at]);
    if (bytes == 0 || lead < 0x20 || lead == 0x7f) {
      result += fmt::format("\\x{:02x}", lead);
      ++at;
      continue;
    }
    result.append(text.substr(at, bytes));
    at += bytes;
  }
  return result;
}

}  // namespace nextscale
