// SPDX-License-Identifier: Apache-2.0
// bench: what a generation and its parts cost on this machine, and how far from its ceilings.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "bench/invented_calibration.h"
#include "bench/machine.h"
#include "bench_report.h"
#include "cancel.h"
#include "command.h"
#include "core/error_format.h"
#include "engine/run_setup.h"
#include "plan/planned_model.h"
#include "progress.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

constexpr int64_t kMaxImages = 1024;
constexpr int kMaxRepeats = 1000;

// What all benchmarks are told.
struct BenchOptions {
  ModelChoice choice{.model = "var-d16", .size = {}};
  std::string dtype = "auto";
  std::string kv_dtype = "auto";
  int threads = 0;
  int64_t images = 1;
  int repeats = 3;
  uint64_t seed = 1;
  bool markdown = false;
  bool json = false;
};

struct KvBenchOptions : BenchOptions {
  int64_t layers = 0;
  bool cpu_time = false;
  std::vector<std::string> policies;
};

struct ModelBenchOptions : BenchOptions {
  std::string kv = "full";
  int64_t text_tokens = ModelBenchSettings().text_tokens;
  bool no_warm_up = false;
};

RunSetup setup_of(const BenchOptions& options) {
  RunSetup setup = run_setup({.dtype = parse_dtype(options.dtype),
                              .kv_dtype = parse_kv_dtype(options.kv_dtype),
                              .threads = options.threads});
  setup.context.cancelled = &cancel_on_signal();
  return setup;
}

BenchShape shape_of(const BenchOptions& options, int64_t layers) {
  const PlannedModel model = choose_model(options.choice);
  const std::string size = model.size.empty() ? "" : " at " + model.size;
  return bench_shape(model.name + size, model.geometry, layers);
}

void print(const BenchPage& page, const BenchOptions& options) {
  fmt::print("{}", page.format(options.json       ? ReportFormat::kJson
                               : options.markdown ? ReportFormat::kMarkdown
                                                  : ReportFormat::kText));
}

// Runs `work(on_run)` under a progress line and says what else the machine did.
template <class Work>
BenchMachine watch(const BenchOptions& options, int threads, size_t parts, const Work& work) {
  const ForeignLoad foreign_load;
  Progress progress;
  size_t started = 0;
  const size_t total = parts * static_cast<size_t>(options.repeats);
  work([&](const std::string& what) {
    progress.show(std::min(started++, total), total, what, Progress::Line::kNo);
  });
  progress.clear();
  return {.threads = threads, .foreign_load = foreign_load.processors()};
}

// `full` comes first, as what the others are compared with.
std::vector<std::string> wanted_policies(std::vector<std::string> policies) {
  std::erase(policies, "full");
  policies.insert(policies.begin(), "full");
  return policies;
}

void run_kv(const KvBenchOptions& options) {
  const RunSetup setup = setup_of(options);
  KvBenchSettings settings{.shape = shape_of(options, options.layers),
                           .images = options.images,
                           .compute = setup.types.compute,
                           .kv = setup.types.kv,
                           .cache = setup.types.cache,
                           .repeats = options.repeats,
                           .seed = options.seed,
                           .policies = wanted_policies(options.policies),
                           .calibration = {}};
  settings.calibration = invented_calibration(settings.shape.geometry, settings.seed);
  const int threads = setup.context.num_threads;
  if (options.cpu_time && threads != 1) {
    fail(ErrorCode::kUsage, "--cpu-time: got {} threads, wanted -t 1: threads share the work",
         threads);
  }
  if (options.cpu_time) settings.clock = thread_cpu_seconds;
  KvBenchResult result;
  const BenchMachine machine =
      watch(options, threads, settings.policies.size() + 1,
            [&](const auto& on_run) { result = bench_kv(setup.context, settings, on_run); });
  print(kv_page(settings, result, machine), options);
}

void run_ceiling(const BenchOptions& options) {
  const RunSetup setup = setup_of(options);
  const CeilingSettings settings{.shape = shape_of(options, 1),
                                 .rows = 2 * options.images,
                                 .repeats = options.repeats,
                                 .seed = options.seed};
  CeilingResult result;
  const BenchMachine machine =
      watch(options, setup.context.num_threads, 1,
            [&](const auto& on_run) { result = bench_ceiling(setup.context, settings, on_run); });
  print(ceiling_page(settings, result, machine), options);
}

void run_model(const ModelBenchOptions& options) {
  const RunSetup setup = setup_of(options);
  const PlannedModel model = choose_model(options.choice);
  const ModelBenchSettings settings{.images = options.images,
                                    .kv = options.kv,
                                    .text_tokens = options.text_tokens,
                                    .repeats = options.repeats,
                                    .warm_up = !options.no_warm_up,
                                    .seed = options.seed};
  ModelBenchResult result;
  const BenchMachine machine =
      watch(options, setup.context.num_threads, 1,
            [&](const auto& on_run) { result = bench_model(setup, model, settings, on_run); });
  print(model_page(model, settings, setup.types, result, machine), options);
}

void add_common(CLI::App& command, BenchOptions& options) {
  command
      .add_option("-m,--model", options.choice.model,
                  "Whose shape: a model folder, or a published model such as infinity-2b")
      ->capture_default_str();
  command.add_option("--size", options.choice.size,
                     "Picture size of a published model: 256, 1M; default: its own");
  command.add_option("--images", options.images, "Pictures at a time, each as two rows")
      ->check(CLI::Range(int64_t{1}, kMaxImages))
      ->capture_default_str();
  command.add_option("--repeats", options.repeats, "Times that each is run")
      ->check(CLI::Range(1, kMaxRepeats))
      ->capture_default_str();
  command.add_option("-s,--seed", options.seed, "Seed of the random inputs")->capture_default_str();
  command.add_option("-t,--threads", options.threads, "Threads, 0 for all cores")
      ->check(CLI::Range(0, kMaxThreads));
  command.add_flag("--markdown", options.markdown, "Print as Markdown");
  command.add_flag("--json", options.json, "Print as JSON");
}

void add_dtypes(CLI::App& command, BenchOptions& options) {
  command.add_option("--dtype", options.dtype, "Type of products: auto, f32, bf16, int8")
      ->capture_default_str();
  command
      .add_option("--kv-dtype", options.kv_dtype,
                  "Type of cached keys and values: auto, f32, bf16, int8")
      ->capture_default_str();
}

void add_kv(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand(
      "kv", "Time attention, scoring, selection and compaction of cache policies");
  const auto options = std::make_shared<KvBenchOptions>();
  add_common(command, *options);
  add_dtypes(command, *options);
  command.add_option("--layers", options->layers,
                     "Run only so many layers and scale up, 0 for all");
  command.add_option("--kv", options->policies,
                     "Cache policy, several by repeating (full is always measured)");
  command.add_flag("--cpu-time", options->cpu_time,
                   "Count the processor's time instead of the clock's, for busy machines: needs "
                   "-t 1");
  command.callback([options] { run_kv(*options); });
}

void add_ceiling(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand(
      "ceiling", "Measure what this machine can do, and products and attention against it");
  const auto options = std::make_shared<BenchOptions>();
  add_common(command, *options);
  command.callback([options] { run_ceiling(*options); });
}

void add_model(CLI::App& bench) {
  CLI::App& command = *bench.add_subcommand(
      "model", "Time whole generations stage by stage, against the machine's ceilings");
  const auto options = std::make_shared<ModelBenchOptions>();
  add_common(command, *options);
  add_dtypes(command, *options);
  command.add_option("--kv", options->kv, "Cache policy")->capture_default_str();
  command.add_option("--text-tokens", options->text_tokens, "Tokens of every prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--no-warmup", options->no_warm_up,
                   "Count the first generation too, for large models");
  command.callback([options] { run_model(*options); });
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure what a generation costs here");
  bench->require_subcommand(1);
  add_kv(*bench);
  add_ceiling(*bench);
  add_model(*bench);
}

}  // namespace nextscale::cli
