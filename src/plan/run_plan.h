// SPDX-License-Identifier: Apache-2.0
// What a run takes on this engine: operations step by step, and memory part by part, the same
// numbers that the engine reserves. Parts that cannot be known, because the family does not run
// yet, are absent rather than guessed. Nothing is loaded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/kv_cache.h"
#include "engine/run_setup.h"
#include "plan/attention_costs.h"
#include "plan/planned_model.h"
#include "policies/context.h"
#include "policies/spec.h"

namespace nextscale {

struct RunPlan {
  std::vector<StepCost> steps;
  std::vector<uint64_t> kv_bytes;  // held after each step, with scale ids and scores
  uint64_t reserved_kv_bytes = 0;  // for the whole run
  uint64_t weights = 0;
  std::optional<uint64_t> activations;
  std::optional<uint64_t> decoder;
  uint64_t process = 0;              // the program itself
  uint64_t peak = 0;                 // what exists at one time; without the absent parts
  bool assumes_equal_heads = false;  // see PlannedPolicy

  bool is_complete() const { return activations.has_value(); }
  uint64_t peak_kv_bytes() const;
};

struct RunQuestion {
  PolicySpec spec;
  int64_t images = 1;  // at a time
};

class RunPlanner {
 public:
  // Borrows all three; `calibration` may be null. `cfg` absent: the model's own guidance.
  // Throws Error(kUsage) for guidance that the model does not have.
  RunPlanner(const PlannedModel& model, const RunSetup& setup, const Calibration* calibration,
             const std::optional<PerScale>& cfg);

  // With the fastest decoder that keeps the peak within `limit` bytes, or the smallest one. Throws
  // Error as make_policy() does.
  RunPlan plan(const RunQuestion& question, uint64_t limit) const;

  // Sequences that this many images run as.
  int64_t sequences(int64_t images) const;

 private:
  Batch batch(int64_t images) const;
  CacheShape cache_shape(const Policy& policy, int64_t images) const;
  PolicyContext policy_context() const;
  void add_memory(const Policy& policy, int64_t images, uint64_t limit, RunPlan* plan) const;
  void add_known_memory(const Policy& policy, int64_t images, RunPlan* plan) const;

  const PlannedModel& model_;
  const RunSetup& setup_;
  const Calibration* calibration_;
  Guidance guidance_;  // of models that run; of others only whether there is any
};

}  // namespace nextscale
