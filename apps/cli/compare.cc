// SPDX-License-Identifier: Apache-2.0
// compare: the same pictures under several cache policies, measured against the first of them.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cancel.h"
#include "command.h"
#include "compare/comparison.h"
#include "compare/page.h"
#include "compare/summary.h"
#include "core/atomic_file.h"
#include "core/memory_info.h"
#include "core/parallel.h"
#include "expectation_file.h"
#include "judge/judge.h"
#include "line_reader.h"
#include "progress.h"
#include "prompt_file.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultPage = "compare.html";

struct CompareOptions {
  RunOptions run;
  std::string prompts;  // a file
  std::vector<std::string> policies;
  int64_t shown_pictures = 8;
  std::string judge;  // a file; empty: that of the model folder, if it has one
  std::string output;
  bool json = false;

  // Empty: no page is wanted.
  std::string page() const { return output.empty() && !json ? kDefaultPage : output; }
};

// `full` comes first unless it stands elsewhere.
std::vector<std::string> wanted_policies(std::vector<std::string> policies) {
  constexpr const char* kFull = "full";
  if (std::ranges::find(policies, kFull) == policies.end()) {
    policies.insert(policies.begin(), kFull);
  }
  return policies;
}

Request wanted_pictures(const CompareOptions& options) {
  Request request = options.run.checked_request(options.prompts);
  if (!options.prompts.empty()) {
    request.prompts = read_prompts(options.prompts, check_prompts(options.prompts, 1).prompts,
                                   options.run.negative);
  }
  if (request.classes.empty() && request.prompts.empty())
    refuse_no_subject("compare", "--class, -p or --prompts");
  return request;
}

CompareEvents events_for(Progress& progress) {
  CompareEvents events;
  events.cancel = &cancel_on_signal();
  events.on_note = [&progress](const std::string& text) { progress.note(text); };
  events.on_plan = [&progress](const Plan& plan) {
    progress.note(fmt::format("plan: {} at most", format_bytes(plan.peak)));
  };
  events.on_run = [&progress](const CompareProgress& run) {
    progress.show(static_cast<uint64_t>(run.runs_done), static_cast<uint64_t>(run.num_runs),
                  fmt::format("{} of {} pictures compared, run {} of {}: {}", run.pictures_done,
                              run.num_pictures, run.runs_done + 1, run.num_runs, run.kv),
                  Progress::Line::kYes);
  };
  return events;
}

// ---- The judge ----------------------------------------------------------------------------------

// A judge, if there is one.
std::unique_ptr<Judge> find_judge(const CompareOptions& options) {
  const EngineOptions& engine = options.run.engine;
  const fs::path own = fs::path(engine.model) / kJudgeName;
  if (options.judge.empty() && !fs::exists(own)) return nullptr;
  const int threads = engine.threads > 0 ? engine.threads : available_threads();
  return std::make_unique<Judge>(options.judge.empty() ? own : fs::path(options.judge), threads);
}

// Whether the lines of a file of prompts say what pictures should show.
bool says_what_is_expected(const std::string& path) {
  if (path.empty() || prompt_form(path) != PromptForm::kJsonLines) return false;
  constexpr size_t kMaxLineBytes = size_t{1} << 20;  // as those who read it all
  LineReader lines(path, kMaxLineBytes);
  while (lines.next()) {
    const auto line = nlohmann::json::parse(lines.text(), nullptr, false);
    if (line.is_object()) return line.contains("kind");
  }
  return false;
}

std::vector<std::optional<Expectation>> expectations(const CompareOptions& options,
                                                     const Request& request, const Engine& engine,
                                                     const JudgeLabels& labels) {
  std::vector<std::optional<Expectation>> expected;
  if (says_what_is_expected(options.prompts)) {
    for (const ExpectedPicture& each : read_expectations(options.prompts, labels)) {
      expected.emplace_back(each.expectation);
    }
  }
  const std::vector<std::string> names = engine.class_names();
  for (const std::string& text : request.classes) {
    const auto number = static_cast<size_t>(engine.class_index(text));
    expected.push_back(names.empty() ? std::nullopt : expect_class(labels, names[number]));
  }
  return expected;
}

// ---- Results ------------------------------------------------------------------------------------

using Line = std::vector<std::string>;

std::string text_of(const MeanInterval& value, int digits) {
  return fmt::format("{0:.{3}f} [{1:.{3}f}, {2:.{3}f}]", value.mean, value.low, value.high, digits);
}

Line line_of(const Comparison& comparison, size_t policy) {
  const PolicyMeasures& measures = comparison.policies[policy];
  Line line{measures.kv, format_bytes(measures.kv_bytes), text_of(mean_time(measures), 1)};
  if (policy > 0) {
    const DifferenceSummary difference = summarize(comparison, policy);
    line.push_back(text_of(difference.psnr, 2));
    for (const MeanInterval& value :
         {difference.ssim, difference.agreement, difference.divergence}) {
      line.push_back(text_of(value, 4));
    }
  }
  return line;
}

void print_table(const Comparison& comparison) {
  std::vector<Line> lines{{"policy", "KV bytes", "ms per picture", "PSNR, dB", "SSIM",
                           "equal tokens", "KL per token, nats"}};
  for (size_t policy = 0; policy < comparison.policies.size(); ++policy) {
    lines.push_back(line_of(comparison, policy));
  }
  std::vector<size_t> widths(lines.front().size());
  for (const Line& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      widths[column] = std::max(widths[column], line[column].size());
    }
  }
  for (const Line& line : lines) {
    for (size_t column = 0; column + 1 < line.size(); ++column) {
      fmt::print("{:<{}}", line[column], widths[column] + 2);
    }
    fmt::print("{}\n", line.back());
  }
}

void print_scores(const Comparison& comparison) {
  for (const PolicyMeasures& measures : comparison.policies) {
    std::string text;
    for (const auto& [name, score] : judge_scores(measures)) {
      text += fmt::format("  {} {}", name, text_of(score, 3));
    }
    if (!text.empty()) fmt::print("judge of {}:{}\n", measures.kv, text);
  }
}

void compare(const CompareOptions& options) {
  CompareRequest request{.request = wanted_pictures(options),
                         .policies = wanted_policies(options.policies),
                         .shown_pictures = options.page().empty() ? 0 : options.shown_pictures};
  // Tells whether it can be written before anything is made.
  std::optional<AtomicFile> page;
  if (!options.page().empty()) page.emplace(options.page());
  Engine engine(options.run.engine_options());
  const std::unique_ptr<Judge> judge = find_judge(options);
  if (judge != nullptr) {
    request.judge = judge.get();
    request.expected = expectations(options, request.request, engine, judge->labels());
  }
  Progress progress;
  const Comparison comparison = nextscale::compare(engine, request, events_for(progress));
  progress.clear();
  if (page) {
    const fs::path model = fs::path(options.run.engine.model).lexically_normal();
    page->write(comparison_page(
        comparison, (model.has_filename() ? model : model.parent_path()).filename().string()));
    page->commit();
  }
  if (options.json) {
    fmt::print("{}\n", to_json(comparison).dump(2));
    return;
  }
  print_table(comparison);
  print_scores(comparison);
  fmt::print("{}\n", options.page());
}

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "compare", "Make the same pictures under several cache policies and measure what changes");
  const auto options = std::make_shared<CompareOptions>();
  RunOptions& run = options->run;
  run.add_settings(*command);
  run.add_classes(*command);
  run.add_prompts(*command);
  command->add_option("--prompts", options->prompts,
                      "A file of prompts, .jsonl or .txt (of a .jsonl only \"prompt\" and "
                      "\"negative\" matter, and to the judge what pictures should show)");
  command
      ->add_option("--kv", options->policies,
                   "Cache policy (see `nextscale policies`); give several by repeating it. The "
                   "first is what the others are measured against; `full`, if it is not among them")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--calibration", run.engine.calibration,
                      "What `nextscale calibrate` made, for policies that need it (default: "
                      "calibration.safetensors in the model folder)");
  command->add_option("-n,--images", run.request.images_each, "Pictures of each class or prompt")
      ->capture_default_str();
  command->add_option("--first", run.request.first_image,
                      "Number of the first picture of each class or prompt");
  command->add_option("--batch", run.request.batch,
                      "Pictures at a time, 0 for as many as fit, at most 4 (changes times, no "
                      "picture)");
  command->add_option("--judge", options->judge,
                      "A judge's .safetensors, which looks at every picture (default: "
                      "judge.safetensors in the model folder, if it is there)");
  command->add_option(
      "-o,--output", options->output,
      fmt::format("The page to write (default: {}; with --json none)", kDefaultPage));
  command
      ->add_option("--show", options->shown_pictures,
                   "Pictures on the page, fewer where it would grow beyond 20 MB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print what was measured as JSON");
  command->callback([options] { compare(*options); });
}

}  // namespace nextscale::cli
