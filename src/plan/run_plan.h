// SPDX-License-Identifier: Apache-2.0
// What a run takes on this engine: operations step by step, and memory part by part, the same
// numbers that the engine reserves. Parts that cannot be known, because the family does not run
// yet, are absent rather than guessed. Nothing is loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/kv_cache.h"
#include "engine/run_setup.h"
#include "models/text/t5_encoder.h"
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
  int64_t text_tokens = 0;  // of every prompt; 0: the model reads none
  // While prompts are encoded, before the first scale; absent if the model's encoder is not there.
  std::optional<uint64_t> text_encoder;
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

// What is known of the pictures beside the question.
struct PlannedPictures {
  std::optional<PerScale> cfg = {};         // absent: the model's own guidance
  std::optional<int64_t> text_tokens = {};  // of every prompt; absent: kTypicalTextTokens
};

// A prompt of some forty words.
inline constexpr int64_t kTypicalTextTokens = 64;

class RunPlanner {
 public:
  // Borrows the first three; `calibration` may be null. Throws Error(kUsage) for guidance or
  // prompts that the model does not have.
  RunPlanner(const PlannedModel& model, const RunSetup& setup, const Calibration* calibration,
             const PlannedPictures& pictures);

  // With the fastest decoder that keeps the peak within `limit` bytes, or the smallest one. Throws
  // Error as make_policy() does.
  RunPlan plan(const RunQuestion& question, uint64_t limit) const;

  // Sequences that this many images run as.
  int64_t sequences(int64_t images) const;

 private:
  void choose_texts(const PlannedPictures& pictures);
  Batch batch(int64_t images) const;
  CacheShape cache_shape(const Policy& policy, int64_t images) const;
  PolicyContext policy_context() const;
  void add_memory(const Policy& policy, int64_t images, uint64_t limit, RunPlan* plan) const;
  void add_known_memory(const Policy& policy, int64_t images, RunPlan* plan) const;

  const PlannedModel& model_;
  const RunSetup& setup_;
  const Calibration* calibration_;
  Guidance guidance_;  // of models that run; of others only whether there is any
  int64_t text_tokens_ = 0;
  std::unique_ptr<T5Encoder> encoder_;  // null where there is none
};

}  // namespace nextscale
