// SPDX-License-Identifier: Apache-2.0
#include "bench/model_bench.h"

#include <algorithm>
#include <array>
#include <utility>

#include "bench/ceiling_bench.h"
#include "bench/invented_calibration.h"
#include "bench/random_values.h"
#include "core/error_format.h"
#include "core/memory_info.h"
#include "engine/batch_run.h"
#include "kernels/kernels.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

constexpr double kPeakSeconds = 0.3;

// A batch that the model takes, guided as it recommends.
struct BenchBatch {
  Tensor text;  // [text tokens, channels]; every image has the same
  Batch batch;
};

BenchBatch make_batch(const Context& context, const ModelDescription& model,
                      const ModelBenchSettings& settings) {
  BenchBatch result;
  result.batch.guidance = model.guidance({.cfg = model.defaults().cfg, .layers = {}});
  for (int64_t image = 0; image < settings.images && model.num_classes() > 0; ++image) {
    result.batch.classes.push_back(image % model.num_classes());
  }
  const TextShape text = model.text();
  if (text.channels == 0) return result;
  const int64_t tokens = std::min(settings.text_tokens, text.max_tokens);
  result.text =
      random_values(context, DType::kF32, {tokens, text.channels}, kUnitRange, settings.seed);
  result.batch.texts.assign(static_cast<size_t>(settings.images),
                            {.text = {.features = result.text.as<float>(), .tokens = tokens}});
  return result;
}

// One generation.
struct Generation {
  StageTimes times;
  double seconds = 0;
  std::vector<double> scales;
  uint64_t kv_bytes = 0;
};

Generation generate(const RunSetup& setup, const ModelDescription& model, ScaleModel& loaded,
                    const Batch& batch, uint64_t seed, const Policy& policy) {
  Generation result;
  Context context = setup.context;
  context.stages = &result.times;
  const double start = wall_seconds();
  const SamplingDefaults defaults = model.defaults();
  BatchRun run(context, model, loaded, batch, setup.types, policy);
  LoopSettings loop{.sampler = {.top_k = defaults.top_k, .top_p = defaults.top_p},
                    .seed = seed,
                    .image_indices = {},
                    .on_scale = {}};
  for (int64_t image = 0; image < batch.images(); ++image) {
    loop.image_indices.push_back(static_cast<uint32_t>(image));
  }
  loop.on_scale = [&](const ScaleDone& done) {
    constexpr double kSeconds = 1e-3;
    result.scales.push_back(kSeconds * done.milliseconds);
    result.kv_bytes = std::max<uint64_t>(result.kv_bytes, run.kv_bytes());
  };
  run.run(loop);
  run.end_scales();
  for (int64_t image = 0; image < batch.images(); ++image) run.decode(image);
  result.seconds = wall_seconds() - start;
  return result;
}

// The type whose ceiling holds for a stage.
DType stage_dtype(Stage stage, const RunTypes& types) {
  switch (stage) {
    case Stage::kProjections:
    case Stage::kFfn:
    case Stage::kHead:
      return types.compute;
    case Stage::kAttention:
      return types.kv;
    default:
      return DType::kF32;
  }
}

template <class Value>
Spread spread_over(const std::vector<Generation>& generations, const Value& value) {
  std::vector<double> values;
  for (const Generation& each : generations) values.push_back(value(each));
  return spread_of(std::move(values));
}

void add_stages(const std::vector<Generation>& generations, const RunTypes& types,
                ModelBenchResult* result) {
  for (size_t index = 0; index < kNumStages; ++index) {
    const auto stage = static_cast<Stage>(index);
    StageCost cost{.stage = stage,
                   .seconds = spread_over(
                       generations, [&](const Generation& each) { return each.times[stage]; }),
                   .operations = generations.front().times.operations_of(stage)};
    const double peak = peak_of(result->peaks, stage_dtype(stage, types));
    if (peak > 0) cost.floor = cost.operations / peak;
    result->floor += cost.floor;
    result->stages.push_back(cost);
  }
}

}  // namespace

const char* stage_name(Stage stage) {
  constexpr std::array<const char*, kNumStages> kNames = {
      "attention", "scoring", "selection", "compaction", "projections", "ffn",
      "heads",     "norms",   "head",      "sampling",   "quantizer",   "decoder"};
  return kNames[static_cast<size_t>(stage)];
}

ModelBenchResult bench_model(const RunSetup& setup, const PlannedModel& model,
                             const ModelBenchSettings& settings,
                             const std::function<void(const std::string&)>& on_run) {
  if (model.description == nullptr) {
    fail(ErrorCode::kUnsupported, "-m: models of the family {} do not run yet", model.family);
  }
  const Context& context = setup.context;
  const ModelDescription& description = *model.description;
  const Calibration calibration = invented_calibration(description.geometry(), settings.seed);
  const auto policy =
      make_policy(parse_policy_spec(settings.kv),
                  {.geometry = description.geometry(), .calibration = &calibration});
  const BenchBatch batch = make_batch(context, description, settings);
  ModelBenchResult result;
  result.rows = description.rows(batch.batch);
  result.planned_bytes =
      make_plan(batch_memory(context, description, batch.batch, setup.types, *policy),
                setup.process_bytes, settings.images, Preview::kNo)
          .peak;
  on_run("weights");
  const double start = wall_seconds();
  const auto loaded = description.load(context, setup.types);
  result.load_seconds = wall_seconds() - start;
  result.weight_bytes = static_cast<double>(loaded->loaded_bytes());
  on_run("ceilings");
  result.peaks = measure_peak_rates(context.num_threads, kPeakSeconds);

  std::vector<Generation> generations;
  for (int repeat = settings.warm_up ? -1 : 0; repeat < settings.repeats; ++repeat) {
    on_run(repeat < 0 ? "warming up" : "generation");
    Generation each = generate(setup, description, *loaded, batch.batch, settings.seed, *policy);
    if (repeat >= 0) generations.push_back(std::move(each));
  }
  result.peak_bytes = peak_resident_bytes();
  result.kv_bytes = generations.front().kv_bytes;
  result.seconds = spread_over(generations, [](const Generation& each) { return each.seconds; });
  result.other = spread_over(
      generations, [](const Generation& each) { return each.seconds - each.times.total(); });
  for (size_t scale = 0; scale < generations.front().scales.size(); ++scale) {
    result.scales.push_back(
        spread_over(generations, [&](const Generation& each) { return each.scales[scale]; }));
  }
  add_stages(generations, setup.types, &result);
  return result;
}

}  // namespace nextscale
