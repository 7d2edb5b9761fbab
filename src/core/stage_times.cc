// SPDX-License-Identifier: Apache-2.0
#include "core/stage_times.h"

#include <chrono>
#include <ctime>

namespace nextscale {

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double thread_cpu_seconds() {
  constexpr double kNanoseconds = 1e-9;
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + kNanoseconds * static_cast<double>(time.tv_nsec);
}

}  // namespace nextscale
