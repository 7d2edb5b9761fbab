// SPDX-License-Identifier: Apache-2.0
#include "scales/scale_loop.h"

#include <algorithm>
#include <chrono>

#include "core/error_format.h"
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
  return tokens * model.vocabulary();
}

int64_t max_tokens(const ModelDescription& model, const Batch& batch) {
  return batch.images() * model.geometry().tokens(model.geometry().num_scales() - 1);
}

// Logits and tokens of one scale.
class ScaleSampling {
 public:
  ScaleSampling(const Context& context, const ModelDescription& model, const Batch& batch,
                const LoopSettings& settings, const LoopBuffers& buffers)
      : context_(context), model_(model), batch_(batch), settings_(settings), buffers_(buffers) {}

  ScaleTokens run(int scale, ScaleRun& run) const {
    const int64_t together = images_per_logits(model_.geometry(), scale, batch_);
    for (int64_t first = 0; first < batch_.images(); first += together) {
      sample_group(scale, first, std::min(together, batch_.images() - first), run);
    }
    if (!settings_.forced_tokens.empty()) {
      std::ranges::copy(settings_.forced_tokens[static_cast<size_t>(scale)],
                        buffers_.tokens.begin());
    }
    const bool smooth = settings_.sampler.smoothing == Smoothing::kOn;
    return {.tokens = buffers_.tokens.data(),
            .mixtures = smooth ? buffers_.logits.data() : nullptr};
  }

 private:
  void sample_group(int scale, int64_t first, int64_t count, ScaleRun& run) const {
    const Geometry& geometry = model_.geometry();
    const int64_t tokens = geometry.tokens(scale);
    float* logits = buffers_.logits.data();
    run.logits(context_, scale, first, count, logits);
    if (context_.trace != nullptr) {
      context_.trace->record(fmt::format("logits.{}", scale),
                             {logits, DType::kF32, Shape{count, tokens, model_.vocabulary()}});
    }
    sample_tokens(context_, {.settings = settings_.sampler,
                             .logits = logits,
                             .images = count,
                             .tokens = tokens,
                             .vocabulary = model_.vocabulary(),
                             .ratio = static_cast<float>(scale) /
                                      static_cast<float>(geometry.num_scales() - 1),
                             .seed = settings_.seed,
                             .scale = static_cast<uint32_t>(scale),
                             .image_indices = std::span(settings_.image_indices).subspan(first),
                             .out = buffers_.tokens.data() + first * tokens});
  }

  const Context& context_;
  const ModelDescription& model_;
  const Batch& batch_;
  const LoopSettings& settings_;
  const LoopBuffers& buffers_;
};

void check_forced_tokens(const ModelDescription& model, const Batch& batch,
                         const std::vector<std::vector<int32_t>>& forced) {
  const Geometry& geometry = model.geometry();
  if (forced.empty()) return;
  if (forced.size() != static_cast<size_t>(geometry.num_scales())) {
    fail(ErrorCode::kUsage, "forced tokens: got {} scales, wanted {}", forced.size(),
         geometry.num_scales());
  }
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    const std::vector<int32_t>& tokens = forced[static_cast<size_t>(scale)];
    const auto wanted = static_cast<size_t>(batch.images() * geometry.tokens(scale));
    const auto known = [&](int32_t token) { return token >= 0 && token < model.vocabulary(); };
    if (tokens.size() == wanted && std::ranges::all_of(tokens, known)) continue;
    fail(ErrorCode::kUsage,
         "forced tokens: scale {} has {} tokens, wanted {} for one batch of {}, each below {}",
         scale, tokens.size(), wanted, batch.images(), model.vocabulary());
  }
}

}  // namespace

size_t loop_buffer_bytes(const ModelDescription& model, const Batch& batch) {
  return Arena::rounded(static_cast<size_t>(max_logits(model, batch)) * sizeof(float)) +
         Arena::rounded(static_cast<size_t>(max_tokens(model, batch)) * sizeof(int32_t));
}

LoopBuffers take_loop_buffers(const ModelDescription& model, const Batch& batch, Arena& arena) {
  return {.logits = arena.take<float>(static_cast<size_t>(max_logits(model, batch))),
          .tokens = arena.take<int32_t>(static_cast<size_t>(max_tokens(model, batch)))};
}

void run_scales(const Context& context, const ModelDescription& model, const Batch& batch,
                const LoopSettings& settings, const LoopBuffers& buffers,
                CachedAttention& attention, ScaleRun& run) {
  check_forced_tokens(model, batch, settings.forced_tokens);
  const ScaleSampling sampling(context, model, batch, settings, buffers);
  for (int scale = 0; scale < model.geometry().num_scales(); ++scale) {
    const auto start = std::chrono::steady_clock::now();
    attention.begin_scale(scale);
    run.forward(context, scale, attention);
    const ScaleTokens chosen = sampling.run(scale, run);
    if (context.trace != nullptr) {
      context.trace->record(
          fmt::format("tokens.{}", scale),
          {chosen.tokens, DType::kI32, Shape{batch.images(), model.geometry().tokens(scale)}});
    }
    run.accept(context, scale, chosen);
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    if (settings.on_scale) settings.on_scale({.scale = scale, .milliseconds = elapsed.count()});
  }
}

}  // namespace nextscale
