// SPDX-License-Identifier: Apache-2.0
#include "bench/machine.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

namespace nextscale {
namespace {

// First line of /proc/stat: "cpu", then ticks spent in user, nice, system, idle, waiting, irq and
// softirq.
double busy_seconds() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0;
  double nice = 0;
  double system = 0;
  file >> name >> user >> nice >> system;
  return (user + nice + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

}  // namespace

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

ForeignLoad::ForeignLoad()
    : busy_seconds_(busy_seconds()),
      own_seconds_(own_seconds()),
      start_(std::chrono::steady_clock::now()) {}

double ForeignLoad::processors() const {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double foreign = busy_seconds() - busy_seconds_ - (own_seconds() - own_seconds_);
  return std::max(foreign, 0.0) / seconds;
}

}  // namespace nextscale
