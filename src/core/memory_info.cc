// SPDX-License-Identifier: Apache-2.0
#include "core/memory_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <string>

namespace nextscale {
namespace {

constexpr size_t kKibi = 1024;

// The value of a "Key:   123 kB" line in bytes; 0 if there is none.
size_t proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word != key) continue;
    size_t kilobytes = 0;
    file >> kilobytes;
    return kilobytes * kKibi;
  }
  return 0;
}

// A cgroup file holding one number; the largest size_t if it is absent or says "max".
size_t cgroup_value(const char* path) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value ? value : std::numeric_limits<size_t>::max();
}

}  // namespace

size_t resident_bytes() { return proc_value("/proc/self/status", "VmRSS:"); }

size_t peak_resident_bytes() { return proc_value("/proc/self/status", "VmHWM:"); }

size_t available_memory_bytes() {
  const size_t machine = proc_value("/proc/meminfo", "MemAvailable:");
  const size_t limit = cgroup_value("/sys/fs/cgroup/memory.max");
  if (limit == std::numeric_limits<size_t>::max()) return machine;
  // Not memory.current: it counts the page cache, which gives way.
  const size_t used = resident_bytes();
  return std::min(machine, limit > used ? limit - used : 0);
}

std::string format_bytes(size_t bytes) {
  constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < kKibi) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / kKibi;
  size_t unit = 0;
  for (; value >= kKibi && unit + 1 < kUnits.size(); ++unit) value /= kKibi;
  return unit >= 2 ? fmt::format("{:.2f} {}", value, kUnits[unit])
                   : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace nextscale
