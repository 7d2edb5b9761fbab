// SPDX-License-Identifier: Apache-2.0
// A text file line by line, whatever its size: lines end with \n or \r\n, the last one with the
// file. Not for files that change under the reader. Owns the open file; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace nextscale::cli {

class LineReader {
 public:
  // Throws Error: kNotFound, kUsage (not a regular file), kIo.
  LineReader(std::filesystem::path path, size_t max_line_bytes);

  // Goes to the next line; false at the end. Throws Error: kBadFile for a line that is too long,
  // kIo.
  bool next();
  // Goes on with the line that starts at this byte; numbers count on from here.
  void skip_to(uint64_t offset);
  // The same to the next line that holds more than white space; a byte order mark at the start of
  // the file is taken off.
  bool next_with_text();

  // Of the line that next() went to:
  const std::string& text() const { return text_; }  // without its end
  int64_t number() const { return number_; }         // from 1
  uint64_t offset() const { return offset_; }        // of its first byte
  uint64_t end() const { return end_; }              // offset of what follows it
  bool is_ended() const { return is_ended_; }        // by \n, not by the file

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  size_t max_line_bytes_;
  std::ifstream file_;
  std::string text_;
  int64_t number_ = 0;
  uint64_t offset_ = 0;
  uint64_t end_ = 0;
  bool is_ended_ = false;
};

}  // namespace nextscale::cli
