// SPDX-License-Identifier: Apache-2.0
#include "engine/resolved_request.h"

#include "core/error_format.h"
#include "models/per_scale.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

constexpr int64_t kMaxImagesEach = 1'000'000;
constexpr int64_t kMaxFirstImage = 1'000'000'000;
// Beyond any use, far from overflow.
constexpr float kMaxCfg = 1000.0F;
constexpr float kMaxTau = 1000.0F;
constexpr float kLeastTau = 1e-3F;

// The value if it lies in [lowest, highest]; NaN does not.
template <typename Number>
Number in_range(std::string_view flag, Number value, Number lowest, Number highest,
                std::string_view meaning) {
  if (value >= lowest && value <= highest) return value;
  fail(ErrorCode::kUsage, "{}: got {}, wanted {} to {}{}", flag, value, lowest, highest, meaning);
}

std::vector<float> all_in_range(std::string_view flag, std::vector<float> values, float lowest,
                                float highest) {
  for (const float value : values) in_range(flag, value, lowest, highest, "");
  return values;
}

std::vector<float> chosen(const std::optional<PerScale>& given, const std::vector<float>& own) {
  return given ? given->values : own;
}

void resolve_guidance(const Request& request, const ModelDescription& model,
                      ResolvedRequest& resolved) {
  const SamplingDefaults defaults = model.defaults();
  resolved.cfg = all_in_range("--cfg", chosen(request.cfg, defaults.cfg), 0.0F, kMaxCfg);
  resolved.tau = all_in_range("--tau", chosen(request.tau, defaults.tau), kLeastTau, kMaxTau);
  resolved.temperatures = per_scale("--tau", resolved.tau, model.geometry().num_scales());
  resolved.cfg_layers = request.cfg_layers;
  resolved.guidance = model.guidance({.cfg = resolved.cfg, .layers = resolved.cfg_layers});
}

SamplerSettings resolve_sampler(const Request& request, const ModelDescription& model) {
  const SamplingDefaults defaults = model.defaults();
  const LabelShape labels = model.labels();
  if (request.smooth && labels.per_token > 1) {
    fail(ErrorCode::kUsage,
         "--smooth: mixes the entries of a vocabulary, but this model chooses {}", labels.name);
  }
  return {
      .top_k = in_range<int64_t>("--top-k", request.top_k.value_or(defaults.top_k), 0,
                                 labels.categories, ", the model's vocabulary (0: off)"),
      .top_p = in_range("--top-p", request.top_p.value_or(defaults.top_p), 0.0F, 1.0F, " (0: off)"),
      .draw = request.greedy ? Draw::kGreedy : Draw::kRandom,
      .smoothing = request.smooth ? Smoothing::kOn : Smoothing::kOff};
}

// Bytes of one token in all lists of one image, see PolicyContext.
uint64_t token_bytes(const ModelDescription& model, const ResolvedRequest& request,
                     DType kv_dtype) {
  constexpr int64_t kKeyAndValue = 2;
  const Geometry& geometry = model.geometry();
  const int64_t elements = kKeyAndValue * model.rows(request.planned_batch(1)) * geometry.layers *
                           geometry.kv_heads * geometry.head_dim;
  return static_cast<uint64_t>(elements) * dtype_bytes(kv_dtype);
}

void resolve_classes(const Request& request, const ModelDescription& model,
                     ResolvedRequest& resolved) {
  if (!request.prompts.empty() || !request.text_features.empty()) {
    fail(ErrorCode::kUsage, "{}: this model makes pictures of classes; give it one with --class",
         request.prompts.empty() ? "--text-features" : "-p");
  }
  if (request.classes.empty()) {
    fail(ErrorCode::kUsage, "--class: none given, wanted a number or a name; give several as 3,7");
  }
  for (const std::string& text : request.classes) {
    resolved.classes.push_back(model.resolve_class(text));
  }
}

void resolve_texts(const Request& request, const ModelDescription& model,
                   const RequestMaterial& material, ResolvedRequest& resolved) {
  if (!request.classes.empty()) model.resolve_class(request.classes.front());  // says what is read
  if (!request.prompts.empty() && !request.text_features.empty()) {
    fail(ErrorCode::kUsage, "-p and --text-features: got both, wanted one of them");
  }
  if (request.prompts.empty() && request.text_features.empty()) {
    fail(ErrorCode::kUsage, "-p: none given, wanted a prompt, or --text-features");
  }
  resolved.prompts = request.prompts;
  resolved.text_features = request.text_features;
  if (!request.prompts.empty()) {
    resolved.texts = std::make_unique<RequestTexts>(material.prompt_features(), request.prompts);
    return;
  }
  const TextShape text = model.text();
  resolved.texts = std::make_unique<RequestTexts>(read_text_features(
      request.text_features, {.channels = text.channels, .max_tokens = text.max_tokens}));
}

}  // namespace

Batch ResolvedRequest::planned_batch(int64_t images) const {
  Batch planned{.guidance = guidance};
  const auto count = static_cast<size_t>(images);
  if (texts != nullptr) {
    planned.texts.assign(count, texts->longest());
  } else {
    planned.classes.assign(count, 0);
  }
  return planned;
}

ResolvedRequest resolve_request(const Request& request, const ModelDescription& model,
                                const RequestMaterial& material) {
  ResolvedRequest resolved;
  if (model.text().channels > 0) {
    resolve_texts(request, model, material, resolved);
  } else {
    resolve_classes(request, model, resolved);
  }
  resolved.images_each =
      in_range<int64_t>("-n", request.images_each, 1, kMaxImagesEach, " images of each");
  resolved.first_image = in_range<int64_t>("--first", request.first_image, 0, kMaxFirstImage, "");
  resolved.batch =
      in_range<int64_t>("--batch", request.batch, 0, kMaxImagesEach, " (0: automatic)");
  resolved.seed = request.seed;
  resolve_guidance(request, model, resolved);
  resolved.sampler = resolve_sampler(request, model);
  resolved.kv = request.kv;
  resolved.policy = make_policy(parse_policy_spec(request.kv),
                                {.geometry = model.geometry(),
                                 .calibration = material.calibration,
                                 .token_bytes = token_bytes(model, resolved, material.kv_dtype)});
  return resolved;
}

}  // namespace nextscale
