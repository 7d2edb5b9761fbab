// SPDX-License-Identifier: Apache-2.0
#include "engine/batch_run.h"

#include "core/stage_times.h"
#include "image/pixels.h"

namespace nextscale {

BatchRun::BatchRun(const Context& context, const ModelDescription& model, ScaleModel& loaded,
                   const Batch& batch, const RunTypes& types, const Policy& policy)
    : model_(model),
      batch_(batch),
      context_(context),
      memory_(batch_memory(context, model, batch, types, policy)),
      schedule_(policy.schedule(model.geometry())),
      state_(memory_.state, "the state of a batch"),
      scratch_(std::make_unique<Arena>(memory_.scratch, "activations")),
      cache_(std::make_unique<KvCache>(cache_shape(model, batch, types, policy), schedule_)),
      attention_(std::make_unique<CachedAttention>(attention_setup(model, batch, types, policy),
                                                   schedule_, *cache_)) {
  context_.scratch = scratch_.get();
  attention_->measure(context.stages);
  run_ = loaded.start(context_, batch, state_);
  buffers_ = take_loop_buffers(model, batch, state_);
}

BatchRun::~BatchRun() = default;

void BatchRun::run(const LoopSettings& settings) {
  run_scales(context_, model_, batch_, settings, buffers_, *attention_, *run_);
}

void BatchRun::end_scales() {
  attention_.reset();
  cache_.reset();
  context_.scratch = nullptr;
  scratch_.reset();
  decoder_ = std::make_unique<Arena>(memory_.decoder, "the decoder");
}

Image BatchRun::decode(int64_t image) {
  std::unique_ptr<Arena> passing;  // of a preview
  if (decoder_ == nullptr) passing = std::make_unique<Arena>(memory_.decoder, "the decoder");
  Context context = context_;
  context.scratch = decoder_ == nullptr ? passing.get() : decoder_.get();
  if (decoder_ == nullptr) context.trace = nullptr;
  const ArenaScope scope(*context.scratch);
  StageClock clock(context.stages);
  const Grid pixels = model_.image_pixels();
  const std::span<float> rgb =
      context.scratch->take<float>(static_cast<size_t>(3 * pixels.tokens()));
  run_->decode(context, image, rgb.data());
  clock.lap(Stage::kDecoder);
  return to_image(rgb, pixels.width, pixels.height, PixelLayout::kInterleaved);
}

}  // namespace nextscale
