// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cancel.h"
#include "command.h"
#include "core/memory_info.h"
#include "image/png.h"
#include "output.h"
#include "progress.h"
#include "run_options.h"

namespace nextscale::cli {
namespace {

struct GenerateOptions {
  RunOptions run;
  std::string output = "nextscale.png";
  std::string preview;
  int64_t columns = 0;
  bool json = false;
  bool verbose = false;
};

std::string plan_text(const Plan& plan) {
  return fmt::format(
      "plan: {} at most (weights {}, key/value cache {}, activations {}, decoder {}, program {}), "
      "{} image{} at a time",
      format_bytes(plan.peak), format_bytes(plan.weights), format_bytes(plan.kv_cache),
      format_bytes(plan.activations), format_bytes(plan.decoder), format_bytes(plan.process),
      plan.batch, plan.batch == 1 ? "" : "s");
}

class Generation {
 public:
  explicit Generation(const GenerateOptions& options)
      : options_(options),
        request_(options.run.request),
        num_images_(static_cast<int64_t>(request_.classes.size()) * request_.images_each) {}

  void run() {
    PictureOutput output(options_.output, num_images_, options_.columns);
    Engine engine(options_.run.engine_options());
    Events events;
    events.cancel = &cancel_on_signal();
    events.on_plan = [this](const Plan& plan) {
      plan_ = plan;
      progress_.note(plan_text(plan));
    };
    events.on_scale = [this](const ScaleEvent& event) { show(event); };
    events.on_image = [&](GeneratedImage image) { output.add(std::move(image)); };
    if (!options_.preview.empty()) {
      events.on_preview = [this](const Image& image) { write_png(options_.preview, image); };
    }
    engine.generate(request_, events);
    const auto& files = output.finish();
    progress_.note(fmt::format(
        "{} image{} in {:.2f} s (reading and packing weights {:.2f} s, scales {:.2f} s), "
        "peak memory {}, key/value cache {}",
        num_images_, num_images_ == 1 ? "" : "s", seconds_since_start(),
        engine.load_milliseconds() / 1e3, scale_milliseconds_ / 1e3,
        format_bytes(peak_resident_bytes()), format_bytes(kv_bytes_)));
    report(files, engine);
  }

 private:
  double seconds_since_start() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  void show(const ScaleEvent& event) {
    if (first_scale_seconds_ == 0) {
      first_scale_seconds_ = seconds_since_start() - event.milliseconds / 1e3;
    }
    scale_milliseconds_ += event.milliseconds;
    kv_bytes_ = std::max(kv_bytes_, event.kv_bytes);
    const auto scale = static_cast<uint64_t>(event.scale) + 1;
    const auto num_scales = static_cast<uint64_t>(event.num_scales);
    const auto done = static_cast<uint64_t>(event.first_image) * num_scales +
                      scale * static_cast<uint64_t>(event.num_images);
    progress_.show(
        done, static_cast<uint64_t>(num_images_) * num_scales,
        fmt::format("images {}-{} of {}, scale {}/{} ({}x{}): {:.1f} ms, key/value cache {}",
                    event.first_image + 1, event.first_image + event.num_images, num_images_, scale,
                    num_scales, event.height, event.width, event.milliseconds,
                    format_bytes(event.kv_bytes)),
        options_.verbose || scale == num_scales ? Progress::Line::kYes : Progress::Line::kNo);
  }

  void report(const std::vector<std::filesystem::path>& files, const Engine& engine) const {
    if (!options_.json) {
      for (const auto& file : files) fmt::print("{}\n", file.string());
      return;
    }
    nlohmann::json result{{"files", nlohmann::json::array()},
                          {"images", num_images_},
                          {"seconds", seconds_since_start()},
                          {"first_scale_seconds", first_scale_seconds_},
                          {"load_seconds", engine.load_milliseconds() / 1e3},
                          {"scale_seconds", scale_milliseconds_ / 1e3},
                          {"kv_bytes", kv_bytes_},
                          {"peak_bytes", peak_resident_bytes()},
                          {"planned_bytes", plan_.peak},
                          {"batch", plan_.batch}};
    for (const auto& file : files) result["files"].push_back(file.string());
    fmt::print("{}\n", result.dump(2));
  }

  const GenerateOptions& options_;
  const Request& request_;
  int64_t num_images_;
  Progress progress_;
  Plan plan_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double first_scale_seconds_ = 0;  // from the start of the command to the first scale's
  double scale_milliseconds_ = 0;
  uint64_t kv_bytes_ = 0;
};

}  // namespace

void add_generate(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Generate pictures");
  const auto options = std::make_shared<GenerateOptions>();
  options->run.add_to(*command);
  command->add_option("-n,--images", options->run.request.images_each, "Pictures per class")
      ->capture_default_str();
  command->add_option(
      "--first", options->run.request.first_image,
      "Number of the first picture of each class: -n 4 equals -n 2 and -n 2 --first 2");
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
  command->add_flag("--json", options->json, "Print files, times and bytes as JSON");
  command->add_flag("-v,--verbose", options->verbose, "A line for every scale");
  command->callback([options] { Generation(*options).run(); });
}

}  // namespace nextscale::cli
