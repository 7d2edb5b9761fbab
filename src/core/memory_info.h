// SPDX-License-Identifier: Apache-2.0
// What this process uses and what the machine has, in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nextscale {

// Resident memory of this process now, and the most it has been (VmRSS and VmHWM on Linux).
size_t resident_bytes();
size_t peak_resident_bytes();

// Memory that new allocations can use without swapping (MemAvailable, cut by a cgroup limit).
size_t available_memory_bytes();

// "1.25 GiB", "640.0 KiB", "17 B".
std::string format_bytes(size_t bytes);

// "8GiB", "512MiB", "1.5GB" or "1000000": nothing if it is no such size, below 1 or beyond any
// machine.
std::optional<uint64_t> read_bytes(std::string_view text);

}  // namespace nextscale
