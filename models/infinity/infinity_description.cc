// SPDX-License-Identifier: Apache-2.0
#include "core/error_format.h"
#include "models/infinity/infinity_layers.h"
#include "models/infinity/infinity_model.h"
#include "models/infinity/schedules.h"
#include "models/per_scale.h"

namespace nextscale {
namespace {

// An entry of --cfg-layers that the official code accepts and does nothing for.
constexpr int64_t kOnProbabilities = 1;

InfinitySetting make_setting(const InfinityConfig& config, const std::string& size) {
  const std::string& wanted = size.empty() ? config.default_size : size;
  const auto picture = find_infinity_picture(wanted);
  if (!picture) {
    fail(ErrorCode::kUsage, "--size: got '{}', wanted {}", printable(wanted),
         kInfinityPictureForms);
  }
  if (picture->num_scales > config.max_scales) {
    fail(ErrorCode::kUsage,
         "--size: '{}' takes {} scales, this model knows {}; ask for a smaller picture",
         printable(wanted), picture->num_scales, config.max_scales);
  }
  return {.config = config,
          .picture = *picture,
          .geometry = {.layers = config.layers,
                       .query_heads = config.heads,
                       .kv_heads = config.heads,
                       .head_dim = config.head_dim,
                       .scales = infinity_schedule(picture->aspect, picture->num_scales)}};
}

class InfinityDescription final : public ModelDescription {
 public:
  InfinityDescription(const InfinityConfig& config, const std::filesystem::path& folder,
                      const std::string& size)
      : setting_(make_setting(config, size)), folder_(folder) {}

  const Geometry& geometry() const override { return setting_.geometry; }

  // Keys have unit length, queries that of their head's temperature.
  float softmax_scale() const override { return 1.0F; }

  LabelShape labels() const override {
    return {.name = "bits", .per_token = setting_.config.token_bits(), .categories = 2};
  }

  int64_t num_classes() const override { return 0; }

  std::vector<std::string> class_names() const override { return {}; }

  TextShape text() const override {
    return {.channels = setting_.config.text_channels, .max_tokens = setting_.config.text_tokens};
  }

  std::string size() const override { return picture_text(setting_.picture); }

  Grid image_pixels() const override { return infinity_decoder_shape(setting_, 0).image_size(); }

  SamplingDefaults defaults() const override {
    const InfinityConfig& config = setting_.config;
    return {.cfg = config.default_cfg, .tau = config.default_tau, .top_p = config.default_top_p};
  }

  // A strength of 1 is none: cfg c + (1 - cfg) u.
  Guidance guidance(const GuidanceRequest& request) const override {
    Guidance guidance;
    for (const float cfg : per_scale("--cfg", request.cfg, geometry().num_scales())) {
      guidance.strengths.push_back(cfg - 1.0F);
    }
    guidance.on_logits = request.layers.empty();
    const int64_t layers = geometry().layers;
    for (const int64_t layer : request.layers) {
      if (layer > kOnProbabilities || layer < -layers) {
        fail(ErrorCode::kUsage,
             "--cfg-layers: got {}, wanted 0 for the logits, or -{} to -1 for a layer counted from "
             "the last",
             layer, layers);
      }
      if (layer == 0) guidance.on_logits = true;
      if (layer < 0) guidance.after_layers.push_back(layers + layer);
    }
    return guidance;
  }

  int64_t rows(const Batch& batch) const override { return infinity_rows(batch); }

  int64_t resolve_class(const std::string& text) const override {
    fail(ErrorCode::kUsage, "--class: got '{}', but this model reads prompts; give it one with -p",
         printable(text));
  }

  ModelMemory memory(const Context& context, const Batch& batch, const RunTypes& types,
                     size_t attention_bytes) const override {
    return infinity_memory(context, setting_, batch, types, attention_bytes);
  }

  std::unique_ptr<ScaleModel> load(const Context& context, const RunTypes& types) const override {
    return load_infinity(context, setting_, types, folder_);
  }

 private:
  InfinitySetting setting_;
  std::filesystem::path folder_;
};

}  // namespace

std::unique_ptr<ModelDescription> describe_infinity(const InfinityConfig& config,
                                                    const std::filesystem::path& folder,
                                                    const std::string& size) {
  return std::make_unique<InfinityDescription>(config, folder, size);
}

}  // namespace nextscale
