// SPDX-License-Identifier: Apache-2.0
// Owns an open file descriptor and closes it. Move only; not thread safe.
#pragma once

#include <unistd.h>

#include <utility>

namespace nextscale {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  ~FileDescriptor() { close(); }
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }
  // Returns 0, or the errno that close() met.
  int close();

 private:
  int number_ = -1;
};

}  // namespace nextscale
