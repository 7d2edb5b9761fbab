// SPDX-License-Identifier: Apache-2.0
#include "line_reader.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "core/error_format.h"
#include "weights/file_error.h"

namespace nextscale::cli {

namespace fs = std::filesystem;

LineReader::LineReader(fs::path path, size_t max_line_bytes)
    : path_(std::move(path)), max_line_bytes_(max_line_bytes) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    fail(ErrorCode::kUsage, "files: {} is no regular file, and has to be read twice; name a file",
         shown(path_));
  }
  errno = 0;
  file_.open(path_, std::ios::binary);
  if (!file_) fail_system("cannot open", path_, errno);
}

bool LineReader::next() {
  using Traits = std::ifstream::traits_type;
  std::streambuf& bytes = *file_.rdbuf();
  text_.clear();
  is_ended_ = false;
  offset_ = end_;
  for (auto byte = bytes.sbumpc(); byte != Traits::eof(); byte = bytes.sbumpc()) {
    ++end_;
    is_ended_ = byte == '\n';
    if (is_ended_) break;
    if (text_.size() == max_line_bytes_) {
      fail(ErrorCode::kBadFile,
           "files: line {} of {} is longer than {} bytes; this is no such file", number_ + 1,
           shown(path_), max_line_bytes_);
    }
    text_.push_back(Traits::to_char_type(byte));
  }
  if (end_ == offset_) return false;
  ++number_;
  if (is_ended_ && text_.ends_with('\r')) text_.pop_back();
  return true;
}

bool LineReader::next_with_text() {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  while (next()) {
    if (number_ == 1 && text_.starts_with(kByteOrderMark)) text_.erase(0, kByteOrderMark.size());
    if (text_.find_first_not_of(" \t\r\v\f") != std::string::npos) return true;
  }
  return false;
}

void LineReader::skip_to(uint64_t offset) {
  file_.seekg(static_cast<std::streamoff>(offset));
  end_ = offset;
}

}  // namespace nextscale::cli
