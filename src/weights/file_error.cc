// SPDX-License-Identifier: Apache-2.0
#include "weights/file_error.h"

#include <cerrno>
#include <system_error>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr size_t kShownPathBytes = 400;

std::string_view next_step(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space or choose another disk; nothing was left behind";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions";
    case EMFILE:
    case ENFILE:
      return "raise the limit on open files (ulimit -n)";
    default:
      return "check the disk and try again";
  }
}

}  // namespace

std::string shown(const std::filesystem::path& path) {
  return fmt::format("'{}'", printable(path.native(), kShownPathBytes));
}

void fail_system(std::string_view action, const std::filesystem::path& path, int error_number) {
  const bool absent = error_number == ENOENT || error_number == ENOTDIR;
  fail(absent ? ErrorCode::kNotFound : ErrorCode::kIo, "files: cannot {} {}: {}; {}", action,
       shown(path), std::generic_category().message(error_number), next_step(error_number));
}

}  // namespace nextscale
