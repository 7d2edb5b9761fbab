// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "core/error_format.h"
#include "core/parallel.h"
#include "eval_options.h"
#include "eval_report.h"
#include "judged_folder.h"
#include "weights/file_error.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;

void require_one_subject(const EvalOptions& options) {
  const bool has_model = !options.run.engine.model.empty();
  if (has_model != options.pictures.empty()) {
    fail(ErrorCode::kUsage, "eval: got {}, wanted a model (-m) or a folder (--pictures)",
         has_model ? "both" : "neither");
  }
}

fs::path judge_path(const EvalOptions& options) {
  if (!options.judge.empty()) return options.judge;
  fs::path own = fs::path(options.run.engine.model) / kJudgeName;
  if (!options.run.engine.model.empty() && fs::exists(own)) return own;
  fail(ErrorCode::kUsage, "--judge: none given{}; name a {}",
       options.run.engine.model.empty() ? "" : ", and none is in the model folder", kJudgeName);
}

void evaluate(const EvalOptions& options) {
  require_one_subject(options);
  const int threads =
      options.run.engine.threads > 0 ? options.run.engine.threads : available_threads();
  const fs::path judge_file = judge_path(options);
  Judge judge(judge_file, threads);
  Progress progress;
  std::optional<JudgedSet> reference;
  if (!options.against.empty()) {
    reference = judge_folder(options.against, {}, judge, progress);
    require_frechet_size(reference->size(), judge.config().num_features());
  }
  const bool generates = options.pictures.empty();
  const JudgedGeneration judged =
      generates ? judge_generated(options, judge)
                : JudgedGeneration{
                      .seen = judge_folder(options.pictures, options.expect, judge, progress),
                      .summary = {}};
  EvalReport report{.judge = judge_file.string(),
                    .pictures = generates ? options.run.engine.model : options.pictures,
                    .seen = judged.seen,
                    .generation = judged.summary};
  if (reference) {
    report.reference = options.against;
    report.reference_seen = &*reference;
    compare_with_reference(report, threads);
  }
  if (!options.json) return print_report(report);
  fmt::print("{}\n", to_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void add_batch(CLI::App& command, RunOptions& run) {
  command.add_option("--batch", run.request.batch,
                     "Pictures at a time, 0 for as many as fit, at most 4 (does not change them)");
}

void add_dump(CLI::App& eval) {
  CLI::App* command = eval.add_subcommand(
      "dump", "Write pictures of every class into folders, and as .npz, for other tools");
  const auto options = std::make_shared<DumpOptions>();
  options->run.add_settings(*command);
  options->run.add_classes(*command);
  options->run.add_policy(*command);
  add_batch(*command, options->run);
  command
      ->add_option("-o,--output", options->output,
                   "The folder of the pictures, CLASS/NUMBER.png. An interrupted run goes on where "
                   "it was when the same command is given again")
      ->required();
  command->add_option("--per-class", options->per_class, "Pictures of each class")
      ->capture_default_str();
  command->add_option("--npz", options->npz,
                      "Then write all of them into this .npz (arr_0, uint8 [N, height, width, 3])");
  command->add_flag("-v,--verbose", options->verbose, "A line for every scale");
  command->callback([options] { dump_pictures(*options); });
}

}  // namespace

void add_eval(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "eval", "Judge pictures: what they show, and how a set of them compares with another");
  const auto options = std::make_shared<EvalOptions>();
  options->run.add_settings(*command);
  command->get_option("--model")->required(false);
  options->run.add_classes(*command);
  options->run.add_policy(*command);
  add_batch(*command, options->run);
  command
      ->add_option("-n,--images", options->run.request.images_each,
                   "Pictures of each class or line of --expect")
      ->capture_default_str();
  command->add_option("--pictures", options->pictures,
                      "Judge the .png files of this folder instead of pictures of a model");
  command->add_option("--judge", options->judge,
                      "The judge's .safetensors (default: judge.safetensors in the model folder)");
  command->add_option("--expect", options->expect,
                      "What the pictures should show, .jsonl (default: expectations.jsonl in the "
                      "folder; of models of classes the class itself)");
  command->add_option("--against", options->against,
                      "A folder of reference pictures, for Fréchet distance, precision and recall");
  command->add_flag("--json", options->json, "Print as JSON");
  command->add_flag("-v,--verbose", options->verbose, "A line for every scale");
  add_dump(*command);
  command->callback([command, options] {
    if (command->get_subcommands().empty()) evaluate(*options);
  });
}

}  // namespace nextscale::cli
