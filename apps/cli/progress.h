// SPDX-License-Identifier: Apache-2.0
// Progress on stderr: a bar that is redrawn on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nextscale::cli {

class Progress {
 public:
  Progress();
  ~Progress();

  // Shows done/total as a bar with a text behind it. Off a terminal, prints the text as a line of
  // its own if `as_line` says that it is worth one.
  enum class Line { kNo, kYes };
  void show(uint64_t done, uint64_t total, std::string_view text, Line as_line);
  // A line that stays.
  void note(std::string_view text);
  // Takes the bar away.
  void clear();

 private:
  bool terminal_;
  bool drawn_ = false;
};

}  // namespace nextscale::cli
