// SPDX-License-Identifier: Apache-2.0
// generate --prompts: pictures of a file of prompts, group by group, with a manifest that says what
// is done.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "engine/recipe.h"
#include "generate_options.h"
#include "generation_watch.h"
#include "image/png.h"
#include "manifest.h"
#include "output.h"
#include "pending_pictures.h"
#include "prompt_file.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;

class PromptRun {
 public:
  explicit PromptRun(const GenerateOptions& options)
      : options_(options),
        request_(options.run.checked_request(options.prompts)),
        folder_(picture_folder(options.output)),
        counts_(check_prompts(options.prompts, request_.images_each)),
        engine_(options.run.engine_options()),
        manifest_(folder_, nlohmann::json::parse(engine_.settings(one_prompt())),
                  options.replace ? OtherPictures::kMakeAgain : OtherPictures::kRefuse),
        num_pending_(count_pending(pending())),
        watch_(num_pending_, options.verbose ? ScaleLines::kAll : ScaleLines::kLast) {}

  void run() {
    note_skipped();
    PendingPictures rest = pending();
    for (auto group = rest.next_group(); !group.empty(); group = rest.next_group()) {
      try {
        generate(group);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kCancelled) throw;
        fail(ErrorCode::kCancelled,
             "cancelled: {} of {} pictures are done; the same command goes on from there",
             counts_.images - num_pending_ + num_done_, counts_.images);
      }
    }
    watch_.note_summary(engine_);
    if (options_.json) print_json();
  }

 private:
  // Settings are those of any prompt.
  Request one_prompt() const {
    Request request = request_;
    request.prompts = {{}};
    return request;
  }

  PendingPictures pending() const {
    return {options_.prompts,
            {.negative = options_.run.negative,
             .seed = request_.seed,
             .images_each = request_.images_each,
             .first_image = request_.first_image},
            manifest_};
  }

  void note_skipped() {
    const int64_t skipped = counts_.images - num_pending_;
    if (skipped == 0) return;
    watch_.note(fmt::format("{} of {} pictures are in {} already and are skipped", skipped,
                            counts_.images, folder_.string()));
  }

  // All runs of a group agree in seed and numbers.
  Request request_of(const std::vector<PictureRun>& group) const {
    Request request = request_;
    for (const PictureRun& run : group) request.prompts.push_back(run.source.prompt);
    request.seed = *group.front().source.seed;
    request.first_image = group.front().first_image;
    request.images_each = group.front().images;
    return request;
  }

  void generate(const std::vector<PictureRun>& group) {
    Events events = watch_.events(num_done_);
    events.on_note = [&](const std::string& text) {
      watch_.note(fmt::format("lines {} to {}: {}", group.front().source.line,
                              group.back().source.line, text));
    };
    events.on_image = [&](const GeneratedImage& image) {
      write(group[static_cast<size_t>(image.subject)], image);
    };
    if (!options_.preview.empty()) {
      events.on_preview = [&](const Image& image) { write_png(options_.preview, image); };
    }
    engine_.generate(request_of(group), events);
  }

  void write(const PictureRun& run, const GeneratedImage& image) {
    const PictureKey key = run.key(image.image_index);
    const fs::path file = folder_ / key.file;
    write_png(file, image.image, image.texts);
    const std::optional<Recipe> recipe = find_recipe(image.texts);
    manifest_.add(key, {.width = image.image.width,
                        .height = image.image.height,
                        .kv_bytes = recipe ? recipe->kv_bytes : 0});
    ++num_done_;
    if (options_.json) return;
    fmt::print("{}\n", file.string());
    std::fflush(stdout);  // a killed run has said what it made
  }

  void print_json() const {
    nlohmann::json result = watch_.summary(engine_);
    result["manifest"] = (folder_ / kManifestName).string();
    result["skipped"] = counts_.images - num_pending_;
    fmt::print("{}\n", result.dump(2));
  }

  const GenerateOptions& options_;
  Request request_;  // without prompts
  fs::path folder_;
  PromptCounts counts_;
  Engine engine_;
  Manifest manifest_;
  int64_t num_pending_;
  int64_t num_done_ = 0;  // of these
  GenerationWatch watch_;
};

}  // namespace

void generate_prompts(const GenerateOptions& options) { PromptRun(options).run(); }

}  // namespace nextscale::cli
