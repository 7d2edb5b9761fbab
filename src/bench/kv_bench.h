// SPDX-License-Identifier: Apache-2.0
// What cache policies cost in time and save in bytes: attention over the cache is run through all
// scales of a model's shape with random queries, keys and values, exactly as a generation runs it,
// and the rest of the transformer is timed beside it. Needs no weights.
//
// Blocking; works on the threads of the context. Memory: the cache of one policy at a time, and the
// activations of one layer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/bench_shape.h"
#include "bench/spread.h"
#include "cache/kv_cache.h"
#include "core/context.h"
#include "core/dtype.h"
#include "core/stage_times.h"
#include "kernels/kernels.h"
#include "policies/calibration.h"

namespace nextscale {

struct KvBenchSettings {
  BenchShape shape;
  int64_t images = 1;
  int64_t rows_per_image = 2;   // guidance
  DType compute = DType::kF32;  // of the products: f32, bf16 or i8
  DType kv = DType::kF32;       // of the current scale's keys and values: f32 or bf16
  DType cache = DType::kF32;    // of cached ones: as kv, or i8
  int repeats = 3;
  uint64_t seed = 1;
  Clock clock = wall_seconds;         // thread_cpu_seconds with one thread alone
  std::vector<std::string> policies;  // specs as for --kv
  Calibration calibration;            // of shape.geometry

  DType activation() const { return kernels::activation_type(compute); }
};

struct PolicyCost {
  std::string kv;
  std::array<Spread, kNumPolicyStages> stages{};  // seconds of one generation, all layers
  Spread generation{};                            // seconds: the stages and the linear layers
  double overhead = 0;      // share of scoring, selection and compaction in the generation, median
  uint64_t held_bytes = 0;  // keys and values, the most at the end of any step, all layers
  uint64_t allocated_bytes = 0;  // keys, values and what lies beside them, all layers

  const Spread& of(Stage stage) const { return stages[static_cast<size_t>(stage)]; }
};

struct KvBenchResult {
  Spread linear;  // seconds of the blocks' linear layers in one generation, all layers
  std::vector<PolicyCost> policies;
};

// Repeats take turns, so that what disturbs the machine for a while disturbs all alike. `on_run` is
// told what runs next. Throws Error for policies that are refused, and Error(kCancelled).
KvBenchResult bench_kv(const Context& context, const KvBenchSettings& settings,
                       const std::function<void(const std::string&)>& on_run);

}  // namespace nextscale
