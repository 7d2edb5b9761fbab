// SPDX-License-Identifier: Apache-2.0
#include "weights/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "core/error_format.h"
#include "weights/file_descriptor.h"
#include "weights/file_error.h"

namespace nextscale {

MappedFile::MappedFile(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe by mistake must not wait for a writer.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) fail_system("open", path, errno);
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) fail_system("examine", path, errno);
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::kBadFile, "files: {} is not a regular file; give the path of a file",
         shown(path));
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) return;
  void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.number(), 0);
  if (mapping == MAP_FAILED) fail_system("map", path, errno);
  data_ = static_cast<const std::byte*>(mapping);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::drop_resident(size_t offset, size_t size) const {
  NEXTSCALE_ASSERT(offset <= size_ && size <= size_ - offset);
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = (offset + page - 1) / page * page;
  // The last page of the file may be dropped although the file ends inside it.
  const size_t end = offset + size == size_ ? size_ : (offset + size) / page * page;
  if (first >= end) return;
  // Advice only: a refusal leaves the pages resident and changes no result.
  ::madvise(const_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED);
}

}  // namespace nextscale
