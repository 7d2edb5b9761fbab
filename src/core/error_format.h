// SPDX-License-Identifier: Apache-2.0
// One place that formats error messages and one for assertions.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "nextscale/error.h"

namespace nextscale {

// Throws Error with a formatted message. Write messages as "<part>: got X, wanted Y; <next step>".
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Our own mistake: prints where and aborts. Never reachable from input; inputs get fail().
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

// Text that came from a file or the command line, made safe to print: control characters escaped,
// invalid UTF-8 replaced, cut after `max_bytes`.
std::string printable(std::string_view text, size_t max_bytes = 120);

}  // namespace nextscale

#define NEXTSCALE_ASSERT(condition) \
  ((condition) ? void(0) : ::nextscale::assertion_failed(#condition, __FILE__, __LINE__))
