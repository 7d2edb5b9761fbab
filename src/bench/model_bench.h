// SPDX-License-Identifier: Apache-2.0
// A whole generation, stage by stage: the engine's own loop and decoder over a model's weights, or
// over random numbers in its shape, beside the least time that the arithmetic would take at the
// machine's ceilings, measured in the same run. Memory is what a generation takes. Blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/peak_rates.h"
#include "bench/spread.h"
#include "core/stage_times.h"
#include "engine/run_setup.h"
#include "plan/planned_model.h"

namespace nextscale {

struct ModelBenchSettings {
  int64_t images = 1;
  std::string kv = "full";
  int64_t text_tokens = 64;  // of every prompt, where the model reads prompts
  int repeats = 3;
  bool warm_up = true;  // one generation before, which is not counted
  uint64_t seed = 1;
};

struct StageCost {
  Stage stage = Stage::kAttention;
  Spread seconds;
  double operations = 0;  // of products and convolutions
  double floor = 0;       // seconds of these at the ceiling of their type; 0 without
};

struct ModelBenchResult {
  PeakRates peaks;
  int64_t rows = 0;               // sequences that run together
  double load_seconds = 0;        // making up or reading the weights, and packing them
  double weight_bytes = 0;        // packed
  Spread seconds;                 // of a generation, decoder included
  double floor = 0;               // of all stages
  std::vector<StageCost> stages;  // in the order of Stage
  Spread other;                   // seconds that no stage counts
  std::vector<Spread> scales;     // seconds of each
  uint64_t kv_bytes = 0;          // the most held
  uint64_t planned_bytes = 0;     // by the engine's plan, this process included
  uint64_t peak_bytes = 0;        // what the process took
};

// The name that reports use.
const char* stage_name(Stage stage);

// `on_run` is told what runs next. Throws Error: what loading and policies throw, kCancelled.
ModelBenchResult bench_model(const RunSetup& setup, const PlannedModel& model,
                             const ModelBenchSettings& settings,
                             const std::function<void(const std::string&)>& on_run);

}  // namespace nextscale
