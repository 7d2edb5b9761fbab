// SPDX-License-Identifier: Apache-2.0
#include "cancel.h"

#include <csignal>

namespace nextscale::cli {
namespace {

std::atomic<bool> cancelled = false;

void on_signal(int number) {
  cancelled.store(true, std::memory_order_relaxed);
  std::signal(number, SIG_DFL);
}

}  // namespace

const std::atomic<bool>& cancel_on_signal() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  return cancelled;
}

}  // namespace nextscale::cli
