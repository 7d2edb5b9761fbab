// SPDX-License-Identifier: Apache-2.0
// The keys and values that survive between steps: one list of tokens per (layer, row, kv head),
// each of its own length. The only code that owns or moves key/value memory.
//
// All of it is one mapping, reserved from the policy's schedule before the first step; what a step
// does not keep is never written here (the current scale lives in scratch, the last one is never
// stored). Tokens are in ascending order of generation; each carries the id of its source scale.
// Not thread safe; different (layer, row, head) lists may be read or changed at the same time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/dtype.h"
#include "core/geometry.h"
#include "kernels/kernels.h"
#include "policies/policy.h"

namespace nextscale {

struct CacheShape {
  int64_t layers = 0;
  int64_t rows = 0;  // sequences of the batch, guidance rows included
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  DType dtype = DType::kF32;  // f32 or bf16
  bool token_scores = false;  // a float beside each token, for policies that accumulate
};

// One list of tokens.
struct CacheList {
  int64_t layer = 0;
  int64_t row = 0;
  int64_t head = 0;
};

// The current scale as one list sees it.
struct CurrentTokens {
  kernels::KvSegment tokens;
  int scale = 0;
};

// Bytes of keys and values that a KvCache of this shape and schedule allocates, and of the scale
// ids and scores beside them.
struct CacheBytes {
  size_t keys_values = 0;
  size_t scale_ids = 0;
  size_t token_scores = 0;

  size_t total() const { return keys_values + scale_ids + token_scores; }
};

class KvCache {
 public:
  // Reserves the memory. Throws Error(kMemory) if the system refuses.
  KvCache(const CacheShape& shape, const Schedule& schedule, int num_scales);

  static CacheBytes planned_bytes(const CacheShape& shape, const Schedule& schedule,
                                  int num_scales);

  // The tokens of one list. Views stay valid until the list changes.
  kernels::KvSegment segment(int64_t layer, int64_t row, int64_t head) const;
  std::span<const uint8_t> scale_ids(int64_t layer, int64_t row, int64_t head) const;
  int64_t length(int64_t layer, int64_t row, int64_t head) const {
    return slots_[slot_index(layer, row, head)].length;
  }

  // Adds the current scale to every list of a layer. k, v: [rows, kv_heads, tokens, head_dim] in
  // the cache's dtype.
  void append(int64_t layer, const void* k, const void* v, int64_t tokens, int scale);

  // Scores of the tokens of one list; empty unless the shape asks for them.
  std::span<const float> token_scores(const CacheList& list) const;

  // Keeps only the candidates at the ascending `positions` (cached tokens, then the current ones)
  // by moving them together in place. `scores` holds one value per candidate if the shape asks for
  // scores, and must not lie in this cache.
  void keep(const CacheList& list, std::span<const int32_t> positions, const CurrentTokens& current,
            std::span<const float> scores);
  // Replaces the keys and values of a list by as many others, which absorbed what was evicted.
  void overwrite(const CacheList& list, const void* k, const void* v);

  // Bytes reserved, and bytes of the tokens held now (keys and values alone).
  const CacheBytes& allocated() const { return allocated_; }
  size_t held_bytes() const;

 private:
  struct Slot {
    size_t offset = 0;  // in tokens, into the K and the V halves and the scale ids
    int64_t capacity = 0;
    int64_t length = 0;
  };

  size_t slot_index(int64_t layer, int64_t row, int64_t head) const {
    return static_cast<size_t>((layer * shape_.rows + row) * shape_.kv_heads + head);
  }
  Slot& slot_of(const CacheList& list) {
    return slots_[slot_index(list.layer, list.row, list.head)];
  }
  size_t token_bytes() const {
    return static_cast<size_t>(shape_.head_dim) * dtype_bytes(shape_.dtype);
  }

  CacheShape shape_;
  CacheBytes allocated_;
  Arena memory_;
  std::byte* keys_ = nullptr;
  std::byte* values_ = nullptr;
  uint8_t* scale_ids_ = nullptr;
  float* token_scores_ = nullptr;  // null unless the shape asks for them
  std::vector<Slot> slots_;        // [layer, row, head]
};

}  // namespace nextscale
