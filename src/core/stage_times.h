// SPDX-License-Identifier: Apache-2.0
// Where the time of a generation goes, and how much arithmetic is done there. For benchmarks: an
// ordinary run has no StageTimes and reads no clock.
#pragma once

#include <array>
#include <cstddef>

namespace nextscale {

// Seconds since some moment.
using Clock = double (*)();
double wall_seconds();
// Of the calling thread alone: what other programs take does not count.
double thread_cpu_seconds();

enum class Stage {
  // Attention under a cache policy:
  kAttention,   // the attention operator, attention to a text included
  kScoring,     // statistics of candidates: observed attention, value norms, source scales
  kSelection,   // the policy's scores, pooling and top tokens
  kCompaction,  // merging evicted tokens, moving kept ones together in the cache
  // The rest of a block:
  kProjections,  // queries, keys, values and output, of attention to a text too
  kFfn,
  kHeads,  // splitting into heads: their norm, rotation, change of type
  kNorms,  // norms and modulation, gates and residuals
  // Around the blocks:
  kHead,  // the last norm, logits, guidance
  kSampling,
  kQuantizer,  // tokens to f_hat to the next input
  kDecoder,
};

inline constexpr size_t kNumPolicyStages = 4;  // the first ones
inline constexpr size_t kNumStages = 12;

struct StageTimes {
  std::array<double, kNumStages> seconds{};
  // Multiplications and additions, one each, of products and convolutions.
  std::array<double, kNumStages> operations{};
  Clock clock = wall_seconds;

  double& operator[](Stage stage) { return seconds[static_cast<size_t>(stage)]; }
  double operator[](Stage stage) const { return seconds[static_cast<size_t>(stage)]; }
  double& operations_of(Stage stage) { return operations[static_cast<size_t>(stage)]; }
  double operations_of(Stage stage) const { return operations[static_cast<size_t>(stage)]; }
  double total() const {
    double sum = 0;
    for (const double each : seconds) sum += each;
    return sum;
  }
  StageTimes& operator+=(const StageTimes& other) {
    for (size_t stage = 0; stage < kNumStages; ++stage) {
      seconds[stage] += other.seconds[stage];
      operations[stage] += other.operations[stage];
    }
    return *this;
  }
};

inline void count_operations(StageTimes* times, Stage stage, double operations) {
  if (times != nullptr) times->operations_of(stage) += operations;
}

// Books the time since the last lap, or since it was made, on a stage. Does nothing without times.
class StageClock {
 public:
  explicit StageClock(StageTimes* times) : times_(times) {
    if (times_ != nullptr) last_ = times_->clock();
  }

  void lap(Stage stage, double operations = 0) {
    if (times_ == nullptr) return;
    const double now = times_->clock();
    (*times_)[stage] += now - last_;
    times_->operations_of(stage) += operations;
    last_ = now;
  }

  // Leaves out the time since the last lap: somebody else booked it.
  void skip() {
    if (times_ != nullptr) last_ = times_->clock();
  }

 private:
  StageTimes* times_;
  double last_ = 0;
};

}  // namespace nextscale
