// SPDX-License-Identifier: Apache-2.0
#include "core/error_format.h"
#include "models/var/imagenet_classes.h"
#include "models/var/var_layers.h"
#include "models/var/var_model.h"

namespace nextscale {
namespace {

class VarDescription final : public ModelDescription {
 public:
  VarDescription(const VarConfig& config, const std::filesystem::path& folder)
      : config_(config), folder_(folder) {
    geometry_ = {.layers = config.layers,
                 .query_heads = config.heads,
                 .kv_heads = config.heads,
                 .head_dim = config.head_dim,
                 .scales = {}};
    for (const int64_t side : config.patch_nums) geometry_.scales.push_back({side, side});
  }

  const Geometry& geometry() const override { return geometry_; }

  float softmax_scale() const override { return var_softmax_scale(config_); }

  LabelShape labels() const override { return {.categories = config_.vocab}; }

  int64_t num_classes() const override { return config_.classes; }

  std::vector<std::string> class_names() const override { return config_.class_names; }

  TextShape text() const override { return {}; }

  std::string size() const override { return {}; }

  Grid image_pixels() const override { return var_decoder_shape(config_, 0).image_size(); }

  SamplingDefaults defaults() const override {
    return {.cfg = {config_.default_cfg},
            .top_k = config_.default_top_k,
            .top_p = config_.default_top_p};
  }

  // Grows linearly from 0 at the first scale to the strength asked for at the last.
  Guidance guidance(const GuidanceRequest& request) const override {
    if (request.cfg.size() != 1) {
      fail(ErrorCode::kUsage,
           "--cfg: got {} values, wanted one: guidance of VAR models grows from scale to scale",
           request.cfg.size());
    }
    if (!request.layers.empty()) {
      fail(ErrorCode::kUsage,
           "--cfg-layers: VAR models have guidance on their logits only; leave it out");
    }
    Guidance guidance;
    const auto last = static_cast<float>(geometry_.num_scales() - 1);
    for (int scale = 0; scale < geometry_.num_scales(); ++scale) {
      guidance.strengths.push_back(request.cfg.front() * static_cast<float>(scale) / last);
    }
    return guidance;
  }

  int64_t rows(const Batch& batch) const override { return var_rows(batch); }

  int64_t resolve_class(const std::string& text) const override {
    return nextscale::resolve_class(text, config_.classes, config_.class_names);
  }

  ModelMemory memory(const Context& context, const Batch& batch, const RunTypes& types,
                     size_t attention_bytes) const override {
    return var_memory(context, config_, geometry_, batch, types, attention_bytes);
  }

  std::unique_ptr<ScaleModel> load(const Context& context, const RunTypes& types) const override {
    return load_var(context, config_, geometry_, types, folder_);
  }

 private:
  VarConfig config_;
  Geometry geometry_;
  std::filesystem::path folder_;
};

}  // namespace

std::unique_ptr<ModelDescription> describe_var(const VarConfig& config,
                                               const std::filesystem::path& folder) {
  return std::make_unique<VarDescription>(config, folder);
}

}  // namespace nextscale
