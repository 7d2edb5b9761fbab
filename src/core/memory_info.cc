// SPDX-License-Identifier: Apache-2.0
#include "core/memory_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

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

std::optional<uint64_t> read_bytes(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 7> kUnits{{{"", 1},
                                                                       {"B", 1},
                                                                       {"KiB", 0x1p10},
                                                                       {"MiB", 0x1p20},
                                                                       {"GiB", 0x1p30},
                                                                       {"MB", 1e6},
                                                                       {"GB", 1e9}}};
  constexpr double kMaxBytes = 0x1p60;
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc()) return std::nullopt;
  const std::string_view given(stop, static_cast<size_t>(end - stop));
  for (const auto& [unit, factor] : kUnits) {
    if (unit != given || !(value * factor >= 1) || value * factor > kMaxBytes) continue;
    return static_cast<uint64_t>(value * factor);
  }
  return std::nullopt;
}

}  // namespace nextscale
