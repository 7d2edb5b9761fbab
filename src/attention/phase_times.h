// SPDX-License-Identifier: Apache-2.0
// Where the time of attention under a cache policy goes. For benchmarks: an ordinary run has no
// PhaseTimes and reads no clock.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

namespace nextscale {

enum class Phase {
  kAttention,   // the attention operator
  kScoring,     // statistics of candidates: observed attention, value norms, source scales
  kSelection,   // the policy's scores, pooling and top tokens
  kCompaction,  // merging evicted tokens, moving kept ones together in the cache
};

inline constexpr size_t kNumPhases = 4;

struct PhaseTimes {
  std::array<double, kNumPhases> seconds{};

  double& operator[](Phase phase) { return seconds[static_cast<size_t>(phase)]; }
  double operator[](Phase phase) const { return seconds[static_cast<size_t>(phase)]; }
  double total() const {
    double sum = 0;
    for (const double each : seconds) sum += each;
    return sum;
  }
  PhaseTimes& operator+=(const PhaseTimes& other) {
    for (size_t phase = 0; phase < kNumPhases; ++phase) seconds[phase] += other.seconds[phase];
    return *this;
  }
};

// Books the time since the last lap, or since it was made, on a phase. Does nothing without times.
class PhaseClock {
 public:
  explicit PhaseClock(PhaseTimes* times) : times_(times) {
    if (times_ != nullptr) last_ = std::chrono::steady_clock::now();
  }

  void lap(Phase phase) {
    if (times_ == nullptr) return;
    const auto now = std::chrono::steady_clock::now();
    (*times_)[phase] += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  PhaseTimes* times_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace nextscale
