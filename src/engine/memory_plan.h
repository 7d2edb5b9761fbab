// SPDX-License-Identifier: Apache-2.0
// How much memory a batch takes, added up before anything is reserved. What is printed, what is
// checked against the machine, and what is then allocated are the same numbers.
#pragma once

#include "attention/cached_attention.h"
#include "cache/kv_cache.h"
#include "engine/request_texts.h"
#include "models/model.h"
#include "nextscale/engine.h"

namespace nextscale {

// Sizes of the arenas of one batch, and of the cache.
struct BatchMemory {
  CacheBytes cache;
  size_t weights = 0;
  size_t state = 0;    // model state and loop buffers: lives until the last picture is decoded
  size_t scratch = 0;  // of the loop
  size_t decoder = 0;  // scratch and pixels of decoding
};

enum class Preview { kNo, kYes };

BatchMemory batch_memory(const Context& context, const ModelDescription& model, const Batch& batch,
                         const RunTypes& types, const Policy& policy);

// Shapes of the cache and of attention in such a batch.
CacheShape cache_shape(const ModelDescription& model, const Batch& batch, const RunTypes& types,
                       const Policy& policy);
AttentionSetup attention_setup(const ModelDescription& model, const Batch& batch,
                               const RunTypes& types, const Policy& policy);

// The parts and the peak. With previews the decoder works while the cache exists; prompts are
// encoded before the weights are there, or between batches.
Plan make_plan(const BatchMemory& memory, size_t process_bytes, int64_t images, Preview preview,
               const TextBytes& texts = {});

}  // namespace nextscale
