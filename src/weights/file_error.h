// SPDX-License-Identifier: Apache-2.0
// How this part words what the operating system refused. Thread safe: no state.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace nextscale {

// A path as messages show it: quoted, control characters escaped, cut when absurdly long.
std::string shown(const std::filesystem::path& path);

// Throws Error for `error_number` (an errno): kNotFound if the file does not exist, else kIo with
// the reason and the next step. `action` reads as in "cannot open".
[[noreturn]] void fail_system(std::string_view action, const std::filesystem::path& path,
                              int error_number);

}  // namespace nextscale
