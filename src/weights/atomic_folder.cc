// SPDX-License-Identifier: Apache-2.0
#include "weights/atomic_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <random>
#include <set>
#include <string>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/model_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

constexpr int kCreateAttempts = 100;
constexpr mode_t kFolderMode = 0777;  // cut by the umask, as for any new folder
constexpr std::string_view kStagingEnding = ".tmp";

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

std::string staging_prefix(const fs::path& path) {
  return fmt::format(".{}.", path.filename().native());
}

// An exclusive lock on a folder, held as long as the descriptor is open; not open if another
// process has it, or if the folder vanished meanwhile.
FileDescriptor try_lock(const fs::path& folder) {
  FileDescriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.is_open() || ::flock(file.number(), LOCK_EX | LOCK_NB) != 0) return {};
  struct stat held {};
  struct stat present {};
  const bool same = ::fstat(file.number(), &held) == 0 && ::stat(folder.c_str(), &present) == 0 &&
                    held.st_ino == present.st_ino && held.st_dev == present.st_dev;
  return same ? std::move(file) : FileDescriptor();
}

// Removes what killed processes left for this name. Best effort: a leftover is no error.
void remove_stale_staging(const fs::path& path) {
  const std::string prefix = staging_prefix(path);
  std::error_code error;
  for (fs::directory_iterator entry(parent_of(path), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().native();
    // Exactly the names made below, so that ".a.b.12345678.tmp" is not taken for one of "a".
    const size_t digits =
        name.size() - std::min(name.size(), prefix.size() + kStagingEnding.size());
    if (digits != 8 || !name.starts_with(prefix) || !name.ends_with(kStagingEnding)) continue;
    if (const FileDescriptor lock = try_lock(entry->path()); lock.is_open()) {
      std::error_code ignored;
      fs::remove_all(entry->path(), ignored);
    }
  }
}

// Throws if replacing the folder would destroy anything but a model.
void require_only_model_files(const fs::path& path) {
  std::set<std::string> known{std::string(kModelConfigName)};
  for (const ModelFile& file : open_model_folder(path).files) known.insert(file.name);
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const fs::path name = entry.path().filename();
    if (known.contains(name.native())) continue;
    fail(ErrorCode::kUsage,
         "output: folder {} holds {}, which is not part of the model; move it away or choose "
         "another folder",
         shown(path), shown(name));
  }
}

// Throws unless commit() may put a folder at `path`.
void require_free(const fs::path& path, ExistingFolder existing) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) {
    fail(ErrorCode::kUsage, "output: {} exists and is not a folder; choose another name",
         shown(path));
  }
  if (fs::is_empty(path, error)) return;
  if (error) fail_system("list", path, error.value());
  if (existing == ExistingFolder::kRefuse) {
    fail(ErrorCode::kUsage,
         "output: folder {} exists and is not empty; choose another folder, or --force to replace "
         "a model",
         shown(path));
  }
  require_only_model_files(path);
}

}  // namespace

AtomicFolder::AtomicFolder(const fs::path& path, ExistingFolder existing)
    // "models/d16/" is meant as "models/d16".
    : path_(path.has_filename() ? path : path.parent_path()), existing_(existing) {
  if (!path_.has_filename() || path_.filename() == "." || path_.filename() == "..") {
    fail(ErrorCode::kUsage, "output: {} names no new folder; add a folder name", shown(path));
  }
  require_free(path_, existing_);
  remove_stale_staging(path_);
  create_staging();
}

void AtomicFolder::create_staging() {
  std::random_device random;
  for (int attempt = 0; attempt < kCreateAttempts; ++attempt) {
    const fs::path staging = parent_of(path_) / fmt::format("{}{:08x}{}", staging_prefix(path_),
                                                            random(), kStagingEnding);
    if (::mkdir(staging.c_str(), kFolderMode) != 0) {
      if (errno == EEXIST) continue;
      fail_system("create folder", path_, errno);
    }
    // Another process may take the new folder for a stale one before it is locked; then try again.
    lock_ = try_lock(staging);
    if (!lock_.is_open()) continue;
    staging_ = staging;
    return;
  }
  fail_system("create folder", path_, EEXIST);
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

void AtomicFolder::commit() {
  NEXTSCALE_ASSERT(!staging_.empty());
  require_free(path_, existing_);
  if (::fsync(lock_.number()) != 0 && errno != EINVAL) fail_system("flush folder", path_, errno);
  if (::rename(staging_.c_str(), path_.c_str()) == 0) {
    staging_.clear();
  } else if (errno != ENOTEMPTY && errno != EEXIST) {
    fail_system("rename to", path_, errno);
  } else if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) !=
             0) {
    fail_system("replace", path_, errno);
  }
  // After an exchange the old model lies in staging_, and the destructor removes it.
  const FileDescriptor parent(::open(parent_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems refuse to flush folders; the folder is complete either way.
  if (parent.is_open()) ::fsync(parent.number());
}

}  // namespace nextscale
