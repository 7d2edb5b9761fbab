// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <algorithm>

#include "scales/scale_loop.h"

namespace nextscale {
namespace {

constexpr int64_t kRgb = 3;

}  // namespace

CacheShape cache_shape(const ModelDescription& model, const Batch& batch, const RunTypes& types,
                       const Policy& policy) {
  const Geometry& geometry = model.geometry();
  return {.layers = geometry.layers,
          .rows = model.rows(batch),
          .kv_heads = geometry.kv_heads,
          .head_dim = geometry.head_dim,
          .dtype = types.cache,
          .token_scores = policy.needs().token_scores()};
}

AttentionSetup attention_setup(const ModelDescription& model, const Batch& batch,
                               const RunTypes& types, const Policy& policy) {
  return {.geometry = model.geometry(),
          .rows = model.rows(batch),
          .images = batch.images(),
          .kv_dtype = types.kv,
          .softmax_scale = model.softmax_scale(),
          .policy = &policy};
}

BatchMemory batch_memory(const Context& context, const ModelDescription& model, const Batch& batch,
                         const RunTypes& types, const Policy& policy) {
  const Schedule schedule = policy.schedule(model.geometry());
  const size_t attention = CachedAttention::scratch_bytes(
      context, attention_setup(model, batch, types, policy), schedule);
  const ModelMemory parts = model.memory(context, batch, types, attention);
  const int64_t pixels = model.image_pixels().tokens();
  return {
      .cache = KvCache::planned_bytes(cache_shape(model, batch, types, policy), schedule),
      .weights = parts.weights,
      .state = parts.state + loop_buffer_bytes(model, batch),
      .scratch = std::max(parts.scratch, sampler_scratch_bytes(context, model.labels().categories)),
      .decoder =
          parts.decoder + Arena::rounded(static_cast<size_t>(kRgb * pixels) * sizeof(float))};
}

Plan make_plan(const BatchMemory& memory, size_t process_bytes, int64_t images, Preview preview,
               const TextBytes& texts) {
  Plan plan;
  plan.process = process_bytes;
  plan.weights = memory.weights;
  plan.kv_cache = memory.cache.total();
  plan.activations = memory.state + memory.scratch + texts.features;
  plan.text_encoder = texts.encoding;
  plan.decoder = memory.decoder;
  plan.batch = images;
  const size_t loop = memory.cache.total() + memory.scratch;
  const size_t varying =
      preview == Preview::kYes ? loop + memory.decoder : std::max(loop, memory.decoder);
  const size_t encoding = texts.encoding + (texts.repeats ? memory.weights : 0);
  plan.peak =
      process_bytes + std::max(memory.weights + texts.features + memory.state + varying, encoding);
  return plan;
}

}  // namespace nextscale
