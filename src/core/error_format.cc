// SPDX-License-Identifier: Apache-2.0
#include "core/error_format.h"

#include <cstdio>
#include <cstdlib>

#include "core/utf8.h"

namespace nextscale {
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
