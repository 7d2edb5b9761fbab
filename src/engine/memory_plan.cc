// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_plan.h"

#include <algorithm>

#include "scales/scale_loop.h"

namespace nextscale {
namespace {

constexpr int64_t kRgb = 3;

}  // namespace

BatchMemory batch_memory(const Context& context, const ModelDescription& model, const Batch& batch,
                         const RunTypes& types, const Schedule& schedule) {
  const Geometry& geometry = model.geometry();
  const int64_t rows = model.rows(batch);
  const size_t attention = CachedAttention::scratch_bytes(context, geometry, rows, types.kv);
  const ModelMemory parts = model.memory(context, batch, types, attention);
  const int64_t pixels = model.image_pixels().tokens();
  return {.cache = KvCache::planned_bytes({.layers = geometry.layers,
                                           .rows = rows,
                                           .kv_heads = geometry.kv_heads,
                                           .head_dim = geometry.head_dim,
                                           .dtype = types.kv},
                                          schedule, geometry.num_scales()),
          .weights = parts.weights,
          .state = parts.state + loop_buffer_bytes(model, batch),
          .scratch = std::max(parts.scratch, sampler_scratch_bytes(context, model.vocabulary())),
          .decoder =
              parts.decoder + Arena::rounded(static_cast<size_t>(kRgb * pixels) * sizeof(float))};
}

Plan make_plan(const BatchMemory& memory, size_t process_bytes, int64_t images, Preview preview) {
  Plan plan;
  plan.process = process_bytes;
  plan.weights = memory.weights;
  plan.kv_cache = memory.cache.total();
  plan.activations = memory.state + memory.scratch;
  plan.decoder = memory.decoder;
  plan.batch = images;
  const size_t loop = memory.cache.total() + memory.scratch;
  const size_t varying =
      preview == Preview::kYes ? loop + memory.decoder : std::max(loop, memory.decoder);
  plan.peak = process_bytes + memory.weights + memory.state + varying;
  return plan;
}

}  // namespace nextscale
