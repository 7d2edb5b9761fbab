// SPDX-License-Identifier: Apache-2.0
#include "nextscale/engine.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/error_format.h"
#include "core/memory_info.h"
#include "core/trace.h"
#include "engine/batch_run.h"
#include "engine/bound_calibration.h"
#include "engine/calibration_run.h"
#include "engine/memory_plan.h"
#include "engine/prompt_features.h"
#include "engine/recipe.h"
#include "engine/resolved_request.h"
#include "engine/run_setup.h"
#include "models/registry.h"
#include "weights/model_folder.h"

namespace nextscale {
namespace {

constexpr int64_t kDefaultBatch = 4;

}  // namespace

struct Engine::State {
  explicit State(const EngineOptions& engine_options);

  ResolvedRequest resolve(const Request& request);
  PromptFeatures& texts();
  // Has the texts of these images at hand.
  void hold_texts(const ResolvedRequest& request, const Events& events, int64_t first,
                  int64_t images);
  void note_size(const Events& events) const;
  Batch planned_batch(const ResolvedRequest& request, int64_t images, bool traced) const;
  CalibrationRun calibration_run(const CalibrationRequest& request);
  Batch make_batch(const ResolvedRequest& request, int64_t first, int64_t images,
                   bool traced) const;
  // The largest batch and the fastest decoder that fit; sets `types.strip_bytes`.
  Plan choose_plan(const ResolvedRequest& request, const Events& events);
  void load(const Context& run_context);
  void run_batch(const ResolvedRequest& request, const Events& events, int64_t first,
                 int64_t images);
  Recipe recipe(const ResolvedRequest& request, const ImageNumber& image, uint64_t kv_bytes);

  EngineOptions options;
  ModelFolder folder;
  std::unique_ptr<ModelDescription> model;
  std::optional<BoundCalibration> calibration;      // always there once made
  std::unique_ptr<PromptFeatures> prompt_features;  // once prompts were given
  std::unique_ptr<ScaleModel> loaded;
  Context context;
  RunTypes types;
  size_t process_bytes = 0;
  double load_milliseconds = 0;
};

Engine::State::State(const EngineOptions& engine_options)
    : options(engine_options), folder(open_model_folder(engine_options.model)) {
  model = describe_model(folder.family,
                         {.config = folder.config, .folder = folder.path, .size = options.size});
  const RunSetup setup = run_setup(options);
  context = setup.context;
  types = setup.types;
  process_bytes = setup.process_bytes;
  calibration.emplace(options.calibration, folder, model->geometry());
}

ResolvedRequest Engine::State::resolve(const Request& request) {
  const CalibrationFile* measured = calibration->for_policy(request.kv);
  return resolve_request(request, *model,
                         {.calibration = measured == nullptr ? nullptr : &measured->values,
                          .kv_dtype = types.kv,
                          .prompt_features = [this]() -> PromptFeatures& { return texts(); }});
}

PromptFeatures& Engine::State::texts() {
  if (prompt_features == nullptr) {
    prompt_features = std::make_unique<PromptFeatures>(
        folder, PromptEncoderOptions{
                    .compute = kernels::activation_type(types.compute),
                    .cache = options.text_cache,
                    .max_tokens = std::min(model->text().max_tokens, T5Tokenizer::kMaxTokens)});
  }
  return *prompt_features;
}

void Engine::State::hold_texts(const ResolvedRequest& request, const Events& events, int64_t first,
                               int64_t images) {
  if (request.texts == nullptr) return;
  Context encoding = context;
  encoding.cancelled = events.cancel;
  const int64_t subject = request.image(first).subject;
  const int64_t last = request.image(first + images - 1).subject;
  for (const std::string& note : request.texts->hold(encoding, subject, last + 1 - subject)) {
    if (events.on_note) events.on_note(note);
  }
}

// Says so if pixels were asked for that the model does not make.
void Engine::State::note_size(const Events& events) const {
  const Grid pixels = model->image_pixels();
  const std::string made = fmt::format("{}x{}", pixels.width, pixels.height);
  const bool asks_for_pixels = options.size.find('x') != std::string::npos;
  if (!events.on_note || !asks_for_pixels || options.size == made) return;
  events.on_note(fmt::format("{} is not a size of this model: making {} ({})",
                             printable(options.size), made, model->size()));
}

Batch Engine::State::make_batch(const ResolvedRequest& request, int64_t first, int64_t images,
                                bool traced) const {
  Batch batch = planned_batch(request, images, traced);
  for (int64_t image = 0; image < images; ++image) {
    const int64_t subject = request.image(first + image).subject;
    if (request.texts != nullptr) {
      batch.texts[static_cast<size_t>(image)] = request.texts->at(subject);
    } else {
      batch.classes[static_cast<size_t>(image)] = request.classes[static_cast<size_t>(subject)];
    }
  }
  return batch;
}

Batch Engine::State::planned_batch(const ResolvedRequest& request, int64_t images,
                                   bool traced) const {
  Batch batch = request.planned_batch(images);
  batch.keep_all_rows = traced;
  batch.whole_logits = traced || request.sampler.smoothing == Smoothing::kOn;
  return batch;
}

Plan Engine::State::choose_plan(const ResolvedRequest& request, const Events& events) {
  const size_t limit = usable_bytes(options);
  const Preview preview = events.on_preview ? Preview::kYes : Preview::kNo;
  const int64_t wanted =
      std::min(request.batch > 0 ? request.batch : kDefaultBatch, request.num_images());
  const int64_t smallest = request.batch > 0 ? wanted : 1;
  Context planned = context;
  planned.probe = events.probe;
  Plan plan;
  for (int64_t images = wanted; images >= smallest; images = images / 2) {
    for (const size_t strip_bytes : kDecoderStrips) {
      // Weights that are packed already were packed for the strips of the first request.
      if (loaded == nullptr) types.strip_bytes = strip_bytes;
      const Batch batch = planned_batch(request, images, events.trace != nullptr);
      const TextBytes texts =
          request.texts == nullptr ? TextBytes{} : request.texts->bytes(planned, images);
      plan = make_plan(batch_memory(planned, *model, batch, types, *request.policy), process_bytes,
                       images, preview, texts);
      if (plan.peak <= limit) return plan;
    }
  }
  fail(ErrorCode::kMemory,
       "memory: this run needs {} (weights {}, key/value cache {}, activations {}, decoder {}), "
       "{} can be used: {} too much; try {}",
       format_bytes(plan.peak), format_bytes(plan.weights), format_bytes(plan.kv_cache),
       format_bytes(plan.activations), format_bytes(plan.decoder), format_bytes(limit),
       format_bytes(plan.peak - limit),
       plan.batch > 1                 ? "--batch 1"
       : types.compute == DType::kF32 ? "--dtype bf16"
                                      : "a smaller model, or close other programs");
}

void Engine::State::load(const Context& run_context) {
  if (loaded != nullptr) return;
  const auto start = std::chrono::steady_clock::now();
  loaded = model->load(run_context, types);
  load_milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The class or prompt of one image; none where the request has none.
template <typename Subject>
std::vector<Subject> subject_of(const std::vector<Subject>& subjects, const ImageNumber& image) {
  if (subjects.empty()) return {};
  return {subjects[static_cast<size_t>(image.subject)]};
}

Recipe Engine::State::recipe(const ResolvedRequest& request, const ImageNumber& image,
                             uint64_t kv_bytes) {
  const CalibrationFile* measured = calibration->for_policy(request.kv);
  return {.model = options.model,
          .model_id = folder.hash,
          .family = folder.family,
          .classes = subject_of(request.classes, image),
          .prompts = subject_of(request.prompts, image),
          .text_features = request.text_features,
          .size = model->size(),
          .images_each = 1,
          .first_image = image.index,
          .seed = request.seed,
          .cfg = request.cfg,
          .tau = request.tau,
          .cfg_layers = request.cfg_layers,
          .top_k = request.sampler.top_k,
          .top_p = request.sampler.top_p,
          .greedy = request.sampler.draw == Draw::kGreedy,
          .smooth = request.sampler.smoothing == Smoothing::kOn,
          .kv = request.kv,
          .calibration = measured == nullptr ? "" : calibration->path().string(),
          .calibration_sha256 = measured == nullptr ? "" : measured->sha256,
          .dtype = std::string(precision_name(types.compute)),
          .kv_dtype = std::string(precision_name(types.cache)),
          .kv_bytes = kv_bytes};
}

CalibrationRun Engine::State::calibration_run(const CalibrationRequest& request) {
  Request settings = sample_settings(request, model->num_classes());
  const ResolvedRequest resolved = resolve(settings);
  nlohmann::json deciding = deciding_settings(recipe(resolved, resolved.image(0), 0));
  deciding["kernels"] = context.kernels->name;
  std::vector<std::string> conditionings;
  for (size_t index = 0; index < resolved.classes.size(); ++index) {
    settings.classes[index] = std::to_string(resolved.classes[index]);
    conditionings.push_back(settings.classes[index]);
  }
  for (const Prompt& prompt : resolved.prompts) {
    conditionings.push_back(prompt.text);
    if (prompt.negative) deciding["negatives"].push_back(*prompt.negative);
  }
  return {
      .header = {.tool = "nextscale " NEXTSCALE_VERSION,
                 .model_id = folder.hash,
                 .family = folder.family,
                 .geometry = model->geometry(),
                 .source = SampleSource{.kind = resolved.texts == nullptr ? "classes" : "prompts",
                                        .conditionings = conditionings,
                                        .samples = request.samples,
                                        .asi_top = kAsiTop,
                                        .settings = deciding},
                 .imports = {}},
      .request = settings,
      .output = request.output};
}

void Engine::State::run_batch(const ResolvedRequest& request, const Events& events, int64_t first,
                              int64_t images) {
  const Batch batch = make_batch(request, first, images, events.trace != nullptr);
  const Geometry& geometry = model->geometry();
  Context run_context = context;
  run_context.probe = events.probe;
  run_context.cancelled = events.cancel;
  run_context.trace = events.trace;
  BatchRun run(run_context, *model, *loaded, batch, types, *request.policy);

  LoopSettings settings{.sampler = request.sampler,
                        .seed = request.seed,
                        .image_indices = {},
                        .tau = request.temperatures,
                        .forced_labels = events.forced_labels,
                        .on_scale = {}};
  for (int64_t image = first; image < first + images; ++image) {
    settings.image_indices.push_back(static_cast<uint32_t>(request.image(image).index));
  }
  uint64_t peak_kv_bytes = 0;
  settings.on_scale = [&](const ScaleDone& done) {
    peak_kv_bytes = std::max<uint64_t>(peak_kv_bytes, run.kv_bytes());
    const Grid& grid = geometry.scales[static_cast<size_t>(done.scale)];
    if (events.on_scale) {
      events.on_scale({.first_image = first,
                       .num_images = images,
                       .scale = done.scale,
                       .num_scales = geometry.num_scales(),
                       .height = grid.height,
                       .width = grid.width,
                       .milliseconds = done.milliseconds,
                       .kv_bytes = run.kv_bytes(),
                       .labels = done.labels});
    }
    if (events.on_preview) events.on_preview(run.decode(0));
  };
  run.run(settings);
  const bool traces_pictures = events.trace != nullptr && events.trace->wants_pictures();
  if (!events.on_image && !traces_pictures) return;
  run.end_scales();
  for (int64_t image = 0; image < images; ++image) {
    const ImageNumber number = request.image(first + image);
    GeneratedImage result{
        .number = first + image,
        .subject = number.subject,
        .class_index =
            request.texts == nullptr ? request.classes[static_cast<size_t>(number.subject)] : 0,
        .image_index = number.index,
        .image = run.decode(image),
        .texts =
            recipe_texts(recipe(request, number, peak_kv_bytes / static_cast<uint64_t>(images)))};
    if (events.on_image) events.on_image(std::move(result));
  }
}

Engine::Engine(const EngineOptions& options) : state_(std::make_unique<State>(options)) {}

Engine::~Engine() = default;

int64_t Engine::num_classes() const { return state_->model->num_classes(); }

std::vector<std::string> Engine::class_names() const { return state_->model->class_names(); }

int64_t Engine::class_index(const std::string& text) const {
  return state_->model->resolve_class(text);
}

Plan Engine::plan(const Request& request) const {
  return state_->choose_plan(state_->resolve(request), {});
}

std::string Engine::settings(const Request& request) const {
  const ResolvedRequest resolved = state_->resolve(request);
  nlohmann::json settings = deciding_settings(state_->recipe(resolved, resolved.image(0), 0));
  settings.erase("seed");
  settings.erase("calibration");  // its checksum tells
  settings["kv"] = resolved.kv;
  settings["model_id"] = state_->folder.hash;
  settings["size"] = state_->model->size();
  return settings.dump();
}

void Engine::load() { state_->load(state_->context); }

void Engine::generate(const Request& request, const Events& events) {
  const ResolvedRequest resolved = state_->resolve(request);
  if (events.trace != nullptr && events.trace->wants_attention() &&
      resolved.policy->needs().selects) {
    fail(ErrorCode::kUnsupported,
         "trace: attention under '--kv {}' has heads of unequal length, wanted --kv full; leave "
         "--attn out",
         request.kv);
  }
  state_->note_size(events);
  const Plan plan = state_->choose_plan(resolved, events);
  if (events.on_plan) events.on_plan(plan);
  state_->hold_texts(resolved, events, 0, std::min(plan.batch, resolved.num_images()));
  Context load_context = state_->context;
  load_context.cancelled = events.cancel;
  state_->load(load_context);
  for (int64_t first = 0; first < resolved.num_images(); first += plan.batch) {
    const int64_t images = std::min(plan.batch, resolved.num_images() - first);
    state_->hold_texts(resolved, events, first, images);
    state_->run_batch(resolved, events, first, images);
  }
}

void Engine::calibrate(const CalibrationRequest& request, const CalibrationEvents& events) {
  State& state = *state_;
  const CalibrationRun run = state.calibration_run(request);
  // The encoder is read once for all samples.
  const ResolvedRequest all = state.resolve(run.request);
  state.hold_texts(all, {.on_note = events.on_note, .cancel = events.cancel}, 0, all.num_images());
  run_calibration(run, events, [this](const Request& part, const Events& part_events) {
    generate(part, part_events);
  });
  // What was bound may just have been replaced.
  state.calibration.emplace(state.options.calibration, state.folder, state.model->geometry());
}

uint64_t Engine::loaded_bytes() const {
  return state_->loaded == nullptr ? 0 : state_->loaded->loaded_bytes();
}

double Engine::load_milliseconds() const { return state_->load_milliseconds; }

}  // namespace nextscale
