// SPDX-License-Identifier: Apache-2.0
#include "scales/scale_loop.h"

#include <algorithm>
#include <chrono>

#include "core/error_format.h"
#include "core/stage_times.h"
#include "core/trace.h"

namespace nextscale {
namespace {

// Most logits held at once, in elements.
int64_t max_logits(const ModelDescription& model, const Batch& batch) {
  const Geometry& geometry = model.geometry();
  int64_t tokens = 0;
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    tokens = std::max(tokens, images_per_logits(geometry, scale, batch) * geometry.tokens(scale));
  }
  return tokens * model.labels().logits_per_token();
}

int64_t max_labels(const ModelDescription& model, const Batch& batch) {
  return batch.images() * model.geometry().tokens(model.geometry().num_scales() - 1) *
         model.labels().per_token;
}

// With one label per token [images, tokens, categories], else [images, tokens, labels, categories].
Shape logits_shape(const LabelShape& labels, int64_t images, int64_t tokens) {
  if (labels.per_token == 1) return {images, tokens, labels.categories};
  return {images, tokens, labels.per_token, labels.categories};
}

Shape labels_shape(const LabelShape& labels, int64_t images, int64_t tokens) {
  if (labels.per_token == 1) return {images, tokens};
  return {images, tokens, labels.per_token};
}

// Logits and labels of one scale.
class ScaleSampling {
 public:
  ScaleSampling(const Context& context, const ModelDescription& model, const Batch& batch,
                const LoopSettings& settings, const LoopBuffers& buffers)
      : context_(context),
        model_(model),
        labels_(model.labels()),
        batch_(batch),
        settings_(settings),
        buffers_(buffers) {}

  ScaleLabels run(int scale, ScaleRun& run) const {
    const int64_t together = images_per_logits(model_.geometry(), scale, batch_);
    for (int64_t first = 0; first < batch_.images(); first += together) {
      sample_group(scale, first, std::min(together, batch_.images() - first), run);
    }
    if (!settings_.forced_labels.empty()) {
      std::ranges::copy(settings_.forced_labels[static_cast<size_t>(scale)],
                        buffers_.labels.begin());
    }
    const bool smooth = settings_.sampler.smoothing == Smoothing::kOn;
    return {.labels = buffers_.labels.data(),
            .mixtures = smooth ? buffers_.logits.data() : nullptr};
  }

 private:
  void sample_group(int scale, int64_t first, int64_t count, ScaleRun& run) const {
    const Geometry& geometry = model_.geometry();
    const int64_t tokens = geometry.tokens(scale);
    float* logits = buffers_.logits.data();
    StageClock clock(context_.stages);
    run.logits(context_, scale, first, count, logits);
    clock.lap(Stage::kHead);
    divide(scale, logits, count * tokens * labels_.logits_per_token());
    if (context_.trace != nullptr) {
      context_.trace->record(fmt::format("logits.{}", scale),
                             {logits, DType::kF32, logits_shape(labels_, count, tokens)});
    }
    sample_labels(context_, {.settings = settings_.sampler,
                             .logits = logits,
                             .images = count,
                             .tokens = tokens,
                             .labels_per_token = labels_.per_token,
                             .categories = labels_.categories,
                             .ratio = static_cast<float>(scale) /
                                      static_cast<float>(geometry.num_scales() - 1),
                             .seed = settings_.seed,
                             .scale = static_cast<uint32_t>(scale),
                             .image_indices = std::span(settings_.image_indices).subspan(first),
                             .out = buffers_.labels.data() + first * tokens * labels_.per_token});
    clock.lap(Stage::kSampling);
  }

  // By the temperature of the scale.
  void divide(int scale, float* logits, int64_t count) const {
    const float tau = settings_.tau.empty() ? 1.0F : settings_.tau[static_cast<size_t>(scale)];
    if (tau == 1.0F) return;
    context_.kernels->blend(context_, 1.0F / tau, logits, 0.0F, logits, logits, count);
  }

  const Context& context_;
  const ModelDescription& model_;
  LabelShape labels_;
  const Batch& batch_;
  const LoopSettings& settings_;
  const LoopBuffers& buffers_;
};

void check_forced_labels(const ModelDescription& model, const Batch& batch,
                         const std::vector<std::vector<int32_t>>& forced) {
  const Geometry& geometry = model.geometry();
  const LabelShape shape = model.labels();
  if (forced.empty()) return;
  if (forced.size() != static_cast<size_t>(geometry.num_scales())) {
    fail(ErrorCode::kUsage, "forced {}: got {} scales, wanted {}", shape.name, forced.size(),
         geometry.num_scales());
  }
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    const std::vector<int32_t>& labels = forced[static_cast<size_t>(scale)];
    const auto wanted =
        static_cast<size_t>(batch.images() * geometry.tokens(scale) * shape.per_token);
    const auto known = [&](int32_t label) { return label >= 0 && label < shape.categories; };
    if (labels.size() == wanted && std::ranges::all_of(labels, known)) continue;
    fail(ErrorCode::kUsage,
         "forced {}: scale {} has {}, wanted {} for one batch of {}, each below {}", shape.name,
         scale, labels.size(), wanted, batch.images(), shape.categories);
  }
}

}  // namespace

size_t loop_buffer_bytes(const ModelDescription& model, const Batch& batch) {
  return Arena::rounded(static_cast<size_t>(max_logits(model, batch)) * sizeof(float)) +
         Arena::rounded(static_cast<size_t>(max_labels(model, batch)) * sizeof(int32_t));
}

LoopBuffers take_loop_buffers(const ModelDescription& model, const Batch& batch, Arena& arena) {
  return {.logits = arena.take<float>(static_cast<size_t>(max_logits(model, batch))),
          .labels = arena.take<int32_t>(static_cast<size_t>(max_labels(model, batch)))};
}

void run_scales(const Context& context, const ModelDescription& model, const Batch& batch,
                const LoopSettings& settings, const LoopBuffers& buffers,
                CachedAttention& attention, ScaleRun& run) {
  check_forced_labels(model, batch, settings.forced_labels);
  const ScaleSampling sampling(context, model, batch, settings, buffers);
  for (int scale = 0; scale < model.geometry().num_scales(); ++scale) {
    const auto start = std::chrono::steady_clock::now();
    attention.begin_scale(scale);
    run.forward(context, scale, attention);
    const ScaleLabels chosen = sampling.run(scale, run);
    if (context.trace != nullptr) {
      const LabelShape labels = model.labels();
      context.trace->record(fmt::format("{}.{}", labels.name, scale),
                            {chosen.labels, DType::kI32,
                             labels_shape(labels, batch.images(), model.geometry().tokens(scale))});
    }
    StageClock clock(context.stages);
    run.accept(context, scale, chosen);
    clock.lap(Stage::kQuantizer);
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    if (!settings.on_scale) continue;
    const int64_t labels =
        batch.images() * model.geometry().tokens(scale) * model.labels().per_token;
    settings.on_scale({.scale = scale,
                       .milliseconds = elapsed.count(),
                       .labels = {chosen.labels, static_cast<size_t>(labels)}});
  }
}

}  // namespace nextscale
