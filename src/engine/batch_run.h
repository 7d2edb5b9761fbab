// SPDX-License-Identifier: Apache-2.0
// One batch from its first scale to its pictures: the memory it takes, the loop, the decoder.
// Borrows everything it is made with. Not thread safe.
#pragma once

#include <memory>

#include "attention/cached_attention.h"
#include "cache/kv_cache.h"
#include "engine/memory_plan.h"
#include "nextscale/image.h"
#include "scales/scale_loop.h"

namespace nextscale {

class BatchRun {
 public:
  // Reserves what batch_memory() says. `context` without scratch; its probe, trace and stages are
  // served. Throws Error(kMemory).
  BatchRun(const Context& context, const ModelDescription& model, ScaleModel& loaded,
           const Batch& batch, const RunTypes& types, const Policy& policy);
  ~BatchRun();

  // All scales. Throws Error as run_scales() does.
  void run(const LoopSettings& settings);
  // Gives the cache and the loop's scratch memory back, for the decoder.
  void end_scales();
  // The picture so far.
  Image decode(int64_t image);

  uint64_t kv_bytes() const { return cache_->held_bytes(); }

 private:
  const ModelDescription& model_;
  const Batch& batch_;
  Context context_;
  BatchMemory memory_;
  Schedule schedule_;
  Arena state_;
  std::unique_ptr<Arena> scratch_;
  std::unique_ptr<Arena> decoder_;  // once the scales have ended
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<CachedAttention> attention_;
  std::unique_ptr<ScaleRun> run_;
  LoopBuffers buffers_;
};

}  // namespace nextscale
