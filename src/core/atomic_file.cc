// SPDX-License-Identifier: Apache-2.0
#include "core/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr mode_t kNewFileMode = 0666;  // cut by the process's mask
constexpr int kMaxNameAttempts = 1000;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

// The file that a write to `path` changes: behind symbolic links. Renaming over anything but a
// regular file would destroy it (as root even /dev/null), so that is refused.
std::filesystem::path writable_target(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return path;
  if (!std::filesystem::is_regular_file(status)) {
    fail(ErrorCode::kIo, "output: {} exists and is not a regular file; name a file",
         printable(path.string()));
  }
  const std::filesystem::path resolved = std::filesystem::canonical(path, error);
  return error ? path : resolved;
}

// Makes the rename itself durable. Some file systems refuse to sync folders; the file is complete
// either way.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(writable_target(path)) {
  for (int attempt = 0; attempt < kMaxNameAttempts; ++attempt) {
    std::string name = fmt::format("{}.{}-{}.tmp", path_.string(), getpid(), attempt);
    descriptor_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kNewFileMode);
    if (descriptor_ >= 0) {
      temporary_path_ = std::move(name);
      return;
    }
    if (errno != EEXIST) break;
  }
  fail_io("create");
}

AtomicFile::~AtomicFile() {
  close_descriptor();
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  NEXTSCALE_ASSERT(descriptor_ >= 0);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_io("write");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::commit() {
  NEXTSCALE_ASSERT(descriptor_ >= 0);
  if (fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail_io("flush");
  const int closed = close(std::exchange(descriptor_, -1));
  if (closed != 0) fail_io("close");
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) fail_io("rename");
  temporary_path_.clear();
  sync_folder(folder_of(path_));
}

void AtomicFile::close_descriptor() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

void AtomicFile::fail_io(const char* action) const {
  const int error = errno;
  fail(ErrorCode::kIo,
       "output: could not {} {}: {}; check the folder, its permissions and free space", action,
       printable(path_.string()), std::strerror(error));
}

}  // namespace nextscale
