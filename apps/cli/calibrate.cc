// SPDX-License-Identifier: Apache-2.0
// calibrate: measures a model's attention, or takes over published results.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "calibrate/calibration_file.h"
#include "calibrate/import_rankings.h"
#include "cancel.h"
#include "command.h"
#include "core/error_format.h"
#include "core/memory_info.h"
#include "models/registry.h"
#include "progress.h"
#include "prompt_file.h"
#include "run_options.h"
#include "weights/model_folder.h"
#include "weights/sha256.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;

struct CalibrateOptions {
  RunOptions run;
  int64_t samples = 50;
  std::string output;
  std::string heatkv;
  std::string scalekv;
  std::string prompts;  // a file
  bool replace = false;

  bool imports() const { return !heatkv.empty() || !scalekv.empty(); }
};

fs::path output_path(const CalibrateOptions& options) {
  if (!options.output.empty()) return options.output;
  if (!options.run.engine.model.empty())
    return options.run.engine.model / fs::path(kCalibrationName);
  fail(ErrorCode::kUsage, "-o: none given; name the calibration file, or a model with -m");
}

// Before hours of work, not after them.
void require_writable(const CalibrateOptions& options, const fs::path& output) {
  const fs::path parent = output.has_parent_path() ? output.parent_path() : ".";
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    fail(ErrorCode::kIo, "-o: cannot write to {}; wanted an existing folder that may be written",
         parent.string());
  }
  if (!fs::exists(output)) return;
  if (!options.replace) {
    fail(ErrorCode::kUsage, "-o: {} exists; give another name, or --force to replace it",
         output.string());
  }
  if (!is_calibration_file(output)) {
    fail(ErrorCode::kUsage,
         "-o: {} exists and is no calibration, which is all that --force replaces; give another "
         "name",
         output.string());
  }
}

Request sample_request(const CalibrateOptions& options) {
  Request request = options.run.checked_request(options.prompts);
  if (!options.prompts.empty()) {
    // More prompts than samples would go unread.
    request.prompts = read_prompts(options.prompts, options.samples, options.run.negative);
  }
  return request;
}

class Measurement {
 public:
  explicit Measurement(const CalibrateOptions& options)
      : options_(options), request_(sample_request(options)), output_(output_path(options)) {}

  void run() {
    require_writable(options_, output_);
    Engine engine(options_.run.engine_options());
    CalibrationEvents events;
    events.cancel = &cancel_on_signal();
    events.on_note = [this](const std::string& text) { progress_.note(text); };
    events.on_plan = [this](const Plan& plan) {
      progress_.note(fmt::format("plan: {} at most, {} sample{} at a time", format_bytes(plan.peak),
                                 plan.batch, plan.batch == 1 ? "" : "s"));
    };
    events.on_scale = [this](const ScaleEvent& event) { show(event); };
    engine.calibrate({.request = request_, .samples = options_.samples, .output = output_.string()},
                     events);
    const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_);
    progress_.note(fmt::format("{} samples in {:.2f} s, peak memory {}", options_.samples,
                               seconds.count(), format_bytes(peak_resident_bytes())));
    fmt::print("{}\n", output_.string());
  }

 private:
  void show(const ScaleEvent& event) {
    const int64_t last = event.first_image + event.num_images;
    const auto scales = static_cast<uint64_t>(event.num_scales);
    const auto scale = static_cast<uint64_t>(event.scale) + 1;
    const uint64_t done = static_cast<uint64_t>(event.first_image) * scales +
                          scale * static_cast<uint64_t>(event.num_images);
    progress_.show(done, static_cast<uint64_t>(options_.samples) * scales,
                   fmt::format("samples {}-{} of {}, scale {}/{} ({}x{}): {:.1f} ms",
                               event.first_image + 1, last, options_.samples, scale, scales,
                               event.height, event.width, event.milliseconds),
                   scale == scales ? Progress::Line::kYes : Progress::Line::kNo);
  }

  const CalibrateOptions& options_;
  Request request_;
  fs::path output_;
  Progress progress_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// An empty calibration of the model, for pictures of this size.
CalibrationFile calibration_of(const EngineOptions& options) {
  const ModelFolder folder = open_model_folder(options.model);
  const Geometry geometry =
      describe_model(folder.family,
                     {.config = folder.config, .folder = folder.path, .size = options.size})
          ->geometry();
  CalibrationFile file;
  file.header = {.tool = "nextscale " NEXTSCALE_VERSION,
                 .model_id = folder.hash,
                 .family = folder.family,
                 .geometry = geometry,
                 .source = std::nullopt,
                 .imports = {}};
  file.values.layers = geometry.layers;
  file.values.kv_heads = geometry.kv_heads;
  file.values.scales = geometry.scales;
  return file;
}

// The file to merge into: the output, or an empty calibration of the model.
CalibrationFile merge_target(const CalibrateOptions& options, const fs::path& output) {
  const std::string& model = options.run.engine.model;
  if (!fs::exists(output)) {
    if (!model.empty()) return calibration_of(options.run.engine);
    fail(ErrorCode::kUsage,
         "-o: there is no {} to merge into; name the model with -m to begin a new file",
         output.string());
  }
  CalibrationFile file = read_calibration_file(output);
  if (!model.empty()) {
    const CalibrationFile wanted = calibration_of(options.run.engine);
    require_model(file, output, wanted.header.model_id, wanted.header.geometry);
  }
  return file;
}

void record_import(const CalibrateOptions& options, const std::string& method,
                   const std::string& path, CalibrationHeader& header) {
  const auto is_same = [&](const CalibrationImport& each) { return each.method == method; };
  if (std::erase_if(header.imports, is_same) > 0 && !options.replace) {
    fail(ErrorCode::kUsage,
         "--import-{}: the file holds such results already; --force replaces "
         "them",
         method);
  }
  header.imports.push_back({.method = method,
                            .file = printable(fs::path(path).filename().string()),
                            .sha256 = sha256_of_file(path)});
}

void import(const CalibrateOptions& options) {
  const fs::path output = output_path(options);
  CalibrationFile file = merge_target(options, output);
  if (!options.heatkv.empty()) {
    record_import(options, "heatkv", options.heatkv, file.header);
    import_heatkv_orders(options.heatkv, file.header.geometry, file.values);
  }
  if (!options.scalekv.empty()) {
    record_import(options, "scalekv", options.scalekv, file.header);
    import_scalekv_budgets(options.scalekv, file.header.geometry, file.values);
  }
  write_calibration_file(output, file);
  fmt::print("{}\n", output.string());
}

}  // namespace

void add_calibrate(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "calibrate", "Measure a model's attention, for cache policies that need to know it");
  const auto options = std::make_shared<CalibrateOptions>();
  options->run.add_settings(*command);
  command->get_option("--model")->required(false);
  command->add_option("-n,--samples", options->samples, "Pictures to measure")
      ->capture_default_str();
  command
      ->add_option("--classes", options->run.request.classes,
                   "Classes to take in turn, as numbers or names (default: spread evenly over the "
                   "model's)")
      ->delimiter(',');
  options->run.add_prompts(*command);
  command->add_option("--prompts", options->prompts,
                      "A file of prompts to take in turn, .jsonl or .txt (of a .jsonl only "
                      "\"prompt\" and \"negative\" matter)");
  command->add_option("--batch", options->run.request.batch,
                      "Pictures at a time, 0 for as many as fit, at most 4 (does not change the "
                      "result)");
  command->add_option("-o,--output", options->output,
                      "The file to make (default: calibration.safetensors in the model folder). "
                      "FILE.partial beside it keeps what is done: after an interruption the same "
                      "command goes on from there");
  command->add_flag("--force", options->replace, "Replace a calibration that is already there");
  command->add_option("--import-heatkv", options->heatkv,
                      "Instead of measuring, merge rankings that HeatKV publishes (orders/*.json)");
  command->add_option("--import-scalekv", options->scalekv,
                      "Instead of measuring, merge budgets that ScaleKV publishes "
                      "(budgets/*.json)");
  command->callback([options] {
    if (options->imports()) return import(*options);
    if (options->run.engine.model.empty()) {
      fail(ErrorCode::kUsage, "-m: none given; name the model folder to measure");
    }
    Measurement(*options).run();
  });
}

}  // namespace nextscale::cli
