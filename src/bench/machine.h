// SPDX-License-Identifier: Apache-2.0
// What a benchmark ran on, and who else was there.
#pragma once

#include <chrono>
#include <string>

namespace nextscale {

// The processor's name as the system gives it; "unknown processor" if it gives none.
std::string processor_name();

// How much of the machine other programs took since this object was made. A benchmark on a busy
// machine is worth little.
class ForeignLoad {
 public:
  ForeignLoad();
  // In processors, on average; 0 where the system does not say.
  double processors() const;

 private:
  double busy_seconds_;  // of all programs, since the system started
  double own_seconds_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace nextscale
