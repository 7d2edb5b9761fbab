// SPDX-License-Identifier: Apache-2.0
// Where the time of attention under a cache policy goes. For benchmarks: an ordinary run has no
// PhaseTimes and reads no clock.
#pragma once

#include <array>
#include <cstddef>

namespace nextscale {

// Seconds since some moment.
using Clock = double (*)();
double wall_seconds();
// Of the calling thread alone: what other programs take does not count.
double thread_cpu_seconds();

enum class Phase {
  kAttention,   // the attention operator
  kScoring,     // statistics of candidates: observed attention, value norms, source scales
  kSelection,   // the policy's scores, pooling and top tokens
  kCompaction,  // merging evicted tokens, moving kept ones together in the cache
};

inline constexpr size_t kNumPhases = 4;

struct PhaseTimes {
  std::array<double, kNumPhases> seconds{};
  Clock clock = wall_seconds;

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
    if (times_ != nullptr) last_ = times_->clock();
  }

  void lap(Phase phase) {
    if (times_ == nullptr) return;
    const double now = times_->clock();
    (*times_)[phase] += now - last_;
    last_ = now;
  }

 private:
  PhaseTimes* times_;
  double last_ = 0;
};

}  // namespace nextscale
