// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace nextscale::cli {
namespace {

constexpr int kBarWidth = 24;

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

void Progress::show(uint64_t done, uint64_t total, std::string_view text, Line as_line) {
  if (!terminal_) {
    if (as_line == Line::kYes) fmt::print(stderr, "{}\n", text);
    return;
  }
  const int filled =
      total == 0
          ? kBarWidth
          : static_cast<int>(static_cast<double>(done) / static_cast<double>(total) * kBarWidth);
  fmt::print(stderr, "\r\x1b[K[{:#<{}}{:.<{}}] {}", "", filled, "", kBarWidth - filled, text);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::note(std::string_view text) {
  clear();
  fmt::print(stderr, "{}\n", text);
}

}  // namespace nextscale::cli
