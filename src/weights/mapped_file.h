// SPDX-License-Identifier: Apache-2.0
// A file mapped read-only into memory. Weights are used where they lie: nothing is copied, and
// pages that were packed elsewhere can be given back.
//
// Owns the mapping; spans into it live as long as it does. The file must not be truncated meanwhile
// (the operating system would end the process); files written by this project are replaced by
// renaming, never in place. Const calls are thread safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace nextscale {

class MappedFile {
 public:
  // Throws Error(kNotFound, kIo) if it cannot be opened, kBadFile if it is not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Gives back the memory of the whole pages inside [offset, offset + size). They are read again
  // from the file when next touched.
  void drop_resident(size_t offset, size_t size) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nextscale
