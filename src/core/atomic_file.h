// SPDX-License-Identifier: Apache-2.0
// A file that appears under its name complete or not at all. Bytes go to a temporary file in the
// same folder; commit() makes them durable and renames. Without commit(), by error or destruction,
// the temporary file is removed and an older file of that name stays as it was.
//
// Not for whole folders, nor for files that readers follow while they grow. Owns a file descriptor
// and the temporary file. Not thread safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace nextscale {

class AtomicFile {
 public:
  // Creates the temporary file. Throws Error(kIo) if the folder is missing or may not be written,
  // or if `path` is something other than a regular file.
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends. Throws Error(kIo), for example when the disk is full.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  // Flushes to the disk and gives the file its name; nothing may be written afterwards.
  void commit();

 private:
  [[noreturn]] void fail_io(const char* action) const;
  void close_descriptor();

  std::filesystem::path path_;
  std::string temporary_path_;  // empty once committed
  int descriptor_ = -1;
};

}  // namespace nextscale
