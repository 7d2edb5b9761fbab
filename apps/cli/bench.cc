// SPDX-License-Identifier: Apache-2.0
// bench: what parts of a generation cost on this machine.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "bench/invented_calibration.h"
#include "bench/machine.h"
#include "bench_report.h"
#include "cancel.h"
#include "command.h"
#include "core/error_format.h"
#include "core/parallel.h"
#include "engine/run_setup.h"
#include "kernels/kernels.h"
#include "plan/planned_model.h"
#include "progress.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

constexpr int64_t kMaxImages = 1024;
constexpr int kMaxRepeats = 1000;

struct KvBenchOptions {
  ModelChoice choice{.model = "var-d16", .size = {}};
  int64_t layers = 0;
  std::string dtype = "auto";
  std::string kv_dtype = "auto";
  int threads = 0;
  bool cpu_time = false;
  bool markdown = false;
  bool json = false;
  KvBenchSettings settings;
};

BenchShape wanted_shape(const KvBenchOptions& options) {
  const PlannedModel model = choose_model(options.choice);
  const std::string size = model.size.empty() ? "" : " at " + model.size;
  return bench_shape(model.name + size, model.geometry, options.layers);
}

// `full` comes first, as what the others are compared with.
std::vector<std::string> wanted_policies(std::vector<std::string> policies) {
  std::erase(policies, "full");
  policies.insert(policies.begin(), "full");
  return policies;
}

void run_kv(const KvBenchOptions& options) {
  KvBenchSettings settings = options.settings;
  settings.shape = wanted_shape(options);
  settings.policies = wanted_policies(settings.policies);
  settings.calibration = invented_calibration(settings.shape.geometry, settings.seed);
  const RunTypes types = run_types(parse_dtype(options.dtype), parse_kv_dtype(options.kv_dtype));
  settings.compute = types.compute;
  settings.kv = types.kv;
  settings.cache = types.cache;
  Context context;
  context.num_threads = options.threads > 0 ? options.threads : available_threads();
  if (options.cpu_time && context.num_threads != 1) {
    fail(ErrorCode::kUsage, "--cpu-time: got {} threads, wanted -t 1: threads share the work",
         context.num_threads);
  }
  if (options.cpu_time) settings.clock = thread_cpu_seconds;
  context.kernels = &kernels::cpu_table();
  context.cancelled = &cancel_on_signal();
  const ForeignLoad foreign_load;
  Progress progress;
  const auto total = (settings.policies.size() + 1) * static_cast<size_t>(settings.repeats);
  size_t started = 0;
  const KvBenchResult result = bench_kv(context, settings, [&](const std::string& what) {
    progress.show(started++, total, what, Progress::Line::kNo);
  });
  progress.clear();
  const ReportFormat format = options.json       ? ReportFormat::kJson
                              : options.markdown ? ReportFormat::kMarkdown
                                                 : ReportFormat::kText;
  fmt::print("{}", format_report({.settings = settings,
                                  .result = result,
                                  .threads = context.num_threads,
                                  .foreign_load = foreign_load.processors()},
                                 format));
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure what parts of a generation cost here");
  bench->require_subcommand(1);
  CLI::App* command = bench->add_subcommand(
      "kv", "Time attention, scoring, selection and compaction of cache policies");
  const auto options = std::make_shared<KvBenchOptions>();
  command
      ->add_option("-m,--model", options->choice.model,
                   "Whose shape: a model folder, or a published model such as infinity-2b")
      ->capture_default_str();
  command->add_option("--size", options->choice.size,
                      "Picture size of a published model: 256, 1M; default: its own");
  command->add_option("--layers", options->layers,
                      "Run only so many layers and scale up, 0 for all");
  command->add_option("--kv", options->settings.policies,
                      "Cache policy, several by repeating (full is always measured)");
  command->add_option("--images", options->settings.images, "Pictures at a time, each as two rows")
      ->check(CLI::Range(int64_t{1}, kMaxImages))
      ->capture_default_str();
  command->add_option("--repeats", options->settings.repeats, "Times that each is run")
      ->check(CLI::Range(1, kMaxRepeats))
      ->capture_default_str();
  command->add_option("-s,--seed", options->settings.seed, "Seed of the random inputs")
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "Type of products: auto, f32, bf16, int8")
      ->capture_default_str();
  command
      ->add_option("--kv-dtype", options->kv_dtype,
                   "Type of cached keys and values: auto, f32, bf16, int8")
      ->capture_default_str();
  command->add_option("-t,--threads", options->threads, "Threads, 0 for all cores")
      ->check(CLI::Range(0, kMaxThreads));
  command->add_flag("--cpu-time", options->cpu_time,
                    "Count the processor's time instead of the clock's, for busy machines: needs "
                    "-t 1");
  command->add_flag("--markdown", options->markdown, "Print as Markdown");
  command->add_flag("--json", options->json, "Print as JSON");
  command->callback([options] { run_kv(*options); });
}

}  // namespace nextscale::cli
