// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "core/error_format.h"
#include "generate_options.h"
#include "generation_watch.h"
#include "image/png.h"
#include "output.h"
#include "text/text_features.h"

namespace nextscale::cli {
namespace {

// Classes or prompts of the request.
int64_t num_subjects(const Request& request) {
  if (!request.text_features.empty()) return count_text_features(request.text_features);
  return static_cast<int64_t>(std::max(request.classes.size(), request.prompts.size()));
}

// A grid's recipe holds all prompts.
void require_recordable(const Request& request) {
  constexpr size_t kMostBytes = kMaxPngTextBytes / 2;  // the rest is for everything else
  size_t bytes = 0;
  for (const Prompt& prompt : request.prompts) {
    for (const std::string& text : {prompt.text, prompt.negative.value_or("")}) {
      bytes += nlohmann::json(text)
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                   .size();
    }
  }
  if (bytes <= kMostBytes) return;
  fail(ErrorCode::kUsage,
       "-p: the prompts have {} bytes, more than a picture can record ({}); shorten them, or give "
       "them in a file with --prompts",
       bytes, kMostBytes);
}

void report(const GenerateOptions& options, const std::vector<std::filesystem::path>& files,
            nlohmann::json summary) {
  if (!options.json) {
    for (const auto& file : files) fmt::print("{}\n", file.string());
    return;
  }
  summary["files"] = nlohmann::json::array();
  for (const auto& file : files) summary["files"].push_back(file.string());
  fmt::print("{}\n", summary.dump(2));
}

}  // namespace

void generate_named(const GenerateOptions& options) {
  const Request request = options.run.checked_request();
  if (num_subjects(request) == 0)
    refuse_no_subject("generate", "--class, -p, --prompts or --text-features");
  require_recordable(request);
  const int64_t num_images = num_subjects(request) * request.images_each;
  PictureOutput output(options.output, num_images, options.columns);
  GenerationWatch watch(num_images, options.verbose ? ScaleLines::kAll : ScaleLines::kLast);
  Engine engine(options.run.engine_options());
  Events events = watch.events(0);
  events.on_image = [&](GeneratedImage image) { output.add(std::move(image)); };
  if (!options.preview.empty()) {
    events.on_preview = [&](const Image& image) { write_png(options.preview, image); };
  }
  engine.generate(request, events);
  const auto& files = output.finish();
  watch.note_summary(engine);
  report(options, files, watch.summary(engine));
}

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Generate pictures of classes or prompts");
  const auto options = std::make_shared<GenerateOptions>();
  options->run.add_to(*command);
  command->add_option("--prompts", options->prompts,
                      "A file of prompts, .jsonl or .txt; -o names the folder of the pictures. An "
                      "interrupted run goes on where it was when the same command is given again");
  command
      ->add_option("-n,--images", options->run.request.images_each,
                   "Pictures of each class or prompt")
      ->capture_default_str();
  command->add_option("--first", options->run.request.first_image,
                      "Number of the first picture of each class or prompt: -n 4 equals -n 2 and "
                      "-n 2 --first 2");
  command->add_option("--batch", options->run.request.batch,
                      "Pictures at a time, 0 for as many as fit, at most 4 (does not change them)");
  command
      ->add_option("-o,--output", options->output,
                   "A .png file (several pictures make a grid), or a folder ending in /")
      ->capture_default_str();
  command->add_option("--columns", options->columns, "Columns of the grid, 0 for near square")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--preview", options->preview,
                      "A .png file, rewritten after every scale with the first picture so far");
  command->add_flag("--force", options->replace,
                    "With --prompts: make pictures again that are in the folder and were made with "
                    "other settings");
  command->add_flag("--json", options->json, "Print files, times and bytes as JSON");
  command->add_flag("-v,--verbose", options->verbose, "A line for every scale");
  command->callback([options] {
    options->prompts.empty() ? generate_named(*options) : generate_prompts(*options);
  });
}

}  // namespace nextscale::cli
