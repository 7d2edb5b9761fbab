// SPDX-License-Identifier: Apache-2.0
// plan: what a run would take, before anything is loaded.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <limits>
#include <memory>
#include <optional>

#include "command.h"
#include "core/error_format.h"
#include "engine/bound_calibration.h"
#include "plan_report.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

constexpr int64_t kMaxBatch = 1'000'000;
constexpr float kMaxCfg = 1000.0F;  // as runs have it

struct PlanOptions {
  RunOptions run;  // of which a plan reads types, threads, memory and guidance
  ModelChoice choice;
  int64_t batch = 1;
  std::optional<int64_t> text_tokens;
  std::string kv = "full";
  std::string accounting = "engine";
  bool json = false;
};

Accounting parse_accounting(const std::string& text) {
  if (text == "engine") return Accounting::kEngine;
  if (text == "paper") return Accounting::kPaper;
  fail(ErrorCode::kUsage, "--accounting: got '{}', wanted engine or paper", printable(text));
}

void require_sound(const PlanOptions& options) {
  if (options.batch < 1 || options.batch > kMaxBatch) {
    fail(ErrorCode::kUsage, "--batch: got {}, wanted 1 to {} pictures at a time", options.batch,
         kMaxBatch);
  }
  if (!options.run.request.cfg) return;
  for (const float cfg : options.run.request.cfg->values) {
    if (cfg >= 0.0F && cfg <= kMaxCfg) continue;
    fail(ErrorCode::kUsage, "--cfg: got {}, wanted 0 to {}", cfg, kMaxCfg);
  }
}

// What the policy is planned from: the file that was named, or the one in the model folder; nothing
// where there is none.
std::optional<Calibration> find_calibration(const PlanOptions& options, const PlannedModel& model) {
  const std::string& named = options.run.engine.calibration;
  if (std::filesystem::is_directory(options.choice.model)) {
    BoundCalibration bound(named, open_model_folder(options.choice.model), model.geometry);
    const CalibrationFile* file = bound.for_policy(options.kv);
    return file == nullptr ? std::nullopt : std::optional(file->values);
  }
  if (named.empty()) return std::nullopt;
  // A published model has no files to compare with.
  CalibrationFile file = read_calibration_file(named);
  require_calibration_of(file.values, model.geometry);
  return std::move(file.values);
}

const PolicySpec kFullCache{.name = "full", .settings = {}};

// A cache policy, and the calibration that it is made from, if there is one.
struct PolicyChoice {
  PolicySpec spec;
  std::optional<Calibration> calibration;

  const Calibration* values() const { return calibration ? &*calibration : nullptr; }
};

void plan_run(const PlanOptions& options, const PlannedModel& model, const PolicyChoice& policy) {
  const EngineOptions engine = options.run.engine_options();
  const RunSetup setup = run_setup(engine);
  const RunPlanner planner(model, setup, policy.values(),
                           {.cfg = options.run.request.cfg, .text_tokens = options.text_tokens});
  // A published model may be planned for another machine than this one.
  const bool is_elsewhere = engine.memory_limit_bytes == 0 && find_known_model(model.name);
  const uint64_t limit = is_elsewhere ? std::numeric_limits<uint64_t>::max() : usable_bytes(engine);
  const RunQuestion question{.spec = policy.spec, .images = options.batch};
  RunReport report{.subject = {.model = model,
                               .kv = options.kv,
                               .images = options.batch,
                               .sequences = planner.sequences(options.batch)},
                   .types = setup.types,
                   .plan = planner.plan(question, limit),
                   .full = planner.plan({kFullCache, options.batch}, limit),
                   .limit = limit,
                   .fit = {}};
  if (engine.memory_limit_bytes > 0) report.fit = what_fits(planner, question, limit);
  options.json ? print_json(report) : print_text(report);
}

void plan_paper(const PlanOptions& options, const PlannedModel& model, const PolicyChoice& policy) {
  constexpr int64_t kGuided = 2;
  if (model.paper.pair_bytes == 0) {
    fail(ErrorCode::kUnsupported,
         "--accounting: no paper counts the {} family; leave the option out", model.family);
  }
  const PaperReport report{
      .subject = {.model = model,
                  .kv = options.kv,
                  .images = options.batch,
                  .sequences = kGuided * options.batch},
      .plan = plan_as_papers_do(model.paper, policy.spec, policy.values(), options.batch),
      .full = plan_as_papers_do(model.paper, kFullCache, nullptr, options.batch)};
  options.json ? print_json(report) : print_text(report);
}

void plan(const PlanOptions& options) {
  require_sound(options);
  const Accounting accounting = parse_accounting(options.accounting);
  const PlannedModel model = choose_model(options.choice);
  const PolicyChoice policy{.spec = parse_policy_spec(options.kv),
                            .calibration = find_calibration(options, model)};
  accounting == Accounting::kEngine ? plan_run(options, model, policy)
                                    : plan_paper(options, model, policy);
}

std::string model_help() {
  std::vector<std::string_view> names;
  for (const KnownModel& model : known_models()) names.push_back(model.name);
  return fmt::format("Model folder, or a published model: {}", fmt::join(names, ", "));
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan", "Say what a run would cost, in memory and operations, without loading anything");
  const auto options = std::make_shared<PlanOptions>();
  RunOptions& run = options->run;
  command->add_option("-m,--model", options->choice.model, model_help())->required();
  command->add_option("--size", options->choice.size,
                      "Picture size: 256, 512, 1024, or 0.06M, 0.25M, 0.60M, 1M, or other shapes "
                      "such as 3:2@1M or 1152x768 (default: the model's own)");
  command->add_option("--batch", options->batch, "Pictures at a time")->capture_default_str();
  command->add_option(
      "--text-tokens", options->text_tokens,
      fmt::format("Tokens of every prompt, for models that read prompts (default: {})",
                  kTypicalTextTokens));
  command->add_option("--kv", options->kv, "Cache policy (see `nextscale policies`)")
      ->capture_default_str();
  command->add_option("--calibration", run.engine.calibration,
                      "What `nextscale calibrate` made (default: calibration.safetensors in the "
                      "model folder; without one, all heads share alike)");
  command
      ->add_option("--accounting", options->accounting,
                   "engine: what this engine allocates and computes; paper: as the papers count")
      ->capture_default_str();
  command->add_option("--memory", run.memory, "Say what fits into this much, such as 8GiB");
  add_per_scale(*command, "--cfg", run.request.cfg,
                "Guidance strength, or a list with one for each scale (default: the model's)");
  command->add_option("--dtype", run.dtype, "Type of products: auto, f32, bf16, int8")
      ->capture_default_str();
  command
      ->add_option("--kv-dtype", run.kv_dtype,
                   "Type of cached keys and values: auto, f32, bf16, int8")
      ->capture_default_str();
  command->add_option("-t,--threads", run.engine.threads, "Threads, 0 for all cores")
      ->check(CLI::Range(0, kMaxThreads));
  command->add_flag("--json", options->json, "Print as JSON");
  command->callback([options] { plan(*options); });
}

}  // namespace nextscale::cli
