// SPDX-License-Identifier: Apache-2.0
// The keys and values that survive between steps: one list of tokens per (layer, row, kv head),
// each of its own length. The only code that owns or moves key/value memory.
//
// All of it is one mapping with as many token places as the policy's schedule ever holds at a time,
// all layers together; what a step does not keep is never written here (the current scale lives in
// scratch, the last one is never stored). Tokens are in ascending order of generation; each carries
// the id of its source scale.
//
// Where no list needs more room than the others leave it, lists stay where they are. Else they
// share the places: layers that are done with a step lie packed at the front, those to come behind
// them, and are pushed to the back when the layer that is stored needs the room in between.
// Everything moves in place.
//
// Not thread safe; reading is, while nothing is stored.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
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
  DType dtype = DType::kF32;  // f32, bf16 or i8
  bool token_scores = false;  // a float beside each token, for policies that accumulate
};

// One list of tokens.
struct CacheList {
  int64_t layer = 0;
  int64_t row = 0;
  int64_t head = 0;
};

// What one list keeps of its candidates: its cached tokens, followed by the current ones.
struct KeptTokens {
  kernels::KvSegment current;  // in the cache's dtype; f32 or bf16 for an i8 cache
  std::optional<std::span<const int32_t>> positions = {};  // ascending; nothing: all candidates
  // One per candidate, not in this cache; read if the shape asks for scores.
  std::span<const float> scores = {};
  // New keys and values of the kept tokens that absorbed evicted ones, and which those are; one per
  // position, none if nothing was merged. In the dtype of the current tokens.
  kernels::KvSegment merged = {};
  std::span<const uint8_t> absorbed = {};
};

// Bytes that a KvCache of this shape and schedule allocates.
struct CacheBytes {
  size_t keys_values = 0;
  size_t factors = 0;  // of int8 rows
  size_t scale_ids = 0;
  size_t token_scores = 0;

  size_t total() const { return keys_values + factors + scale_ids + token_scores; }
};

// What a layer hands over for a cache of this type, with products in another.
inline DType current_dtype(DType cached, DType keys) {
  return cached == DType::kI8 ? keys : cached;
}

class KvCache {
 public:
  // Reserves the memory. Throws Error(kMemory) if the system refuses.
  KvCache(const CacheShape& shape, const Schedule& schedule);

  static CacheBytes planned_bytes(const CacheShape& shape, const Schedule& schedule);
  // The key, the value and their factors of one token of one list.
  static size_t token_bytes(const CacheShape& shape);

  // The tokens of one list. Views stay valid until a layer is stored.
  kernels::KvSegment segment(int64_t layer, int64_t row, int64_t head) const;
  std::span<const uint8_t> scale_ids(int64_t layer, int64_t row, int64_t head) const;
  int64_t length(int64_t layer, int64_t row, int64_t head) const {
    return slots_[slot_index(layer, row, head)].length;
  }
  // Scores of the tokens of one list; empty unless the shape asks for them.
  std::span<const float> token_scores(const CacheList& list) const;

  // Ends a layer's part of step `scale`: its lists [rows, kv_heads] become what they keep. Layers
  // are stored in order. No list may become longer than the schedule says. Allocates nothing.
  void store(const Context& context, int64_t layer, int scale, std::span<const KeptTokens> lists);

  // Bytes reserved, and bytes of the tokens held now (keys, values and their factors).
  const CacheBytes& allocated() const { return allocated_; }
  size_t held_bytes() const;

 private:
  struct Slot {
    int64_t offset = 0;  // token place
    int64_t length = 0;
    int64_t evicted = 0;  // by the layer's store()
  };
  // One property of all tokens.
  struct Plane {
    std::byte* data = nullptr;
    size_t token_bytes = 0;

    std::byte* at(int64_t token) const { return data + static_cast<size_t>(token) * token_bytes; }
  };

  size_t slot_index(int64_t layer, int64_t row, int64_t head) const {
    return static_cast<size_t>((layer * shape_.rows + row) * shape_.kv_heads + head);
  }
  std::span<Slot> layer_slots(int64_t layer) {
    const auto lists = static_cast<size_t>(shape_.rows * shape_.kv_heads);
    return std::span(slots_).subspan(static_cast<size_t>(layer) * lists, lists);
  }
  Plane take_plane(size_t token_bytes);
  int64_t end_of_room(const Slot& slot) const;
  void move_tokens(int64_t to, int64_t from, int64_t tokens) const;
  void move_list(Slot& slot, int64_t to) const;
  void write(int64_t place, const kernels::KvSegment& from, int64_t first, int64_t tokens) const;
  void quantize_token(const void* row, DType dtype, int64_t token, const Plane& rows,
                      const Plane& factors) const;
  // The parts of store(), in their order.
  void compact(Slot& slot, const KeptTokens& kept) const;
  void make_room(int64_t layer, std::span<const KeptTokens> lists);
  void push_back(int64_t first_layer);
  void append(Slot& slot, const KeptTokens& kept, int scale) const;

  CacheShape shape_;
  CacheBytes allocated_;
  Arena memory_;
  int64_t num_places_ = 0;
  bool moves_ = false;  // lists share the places
  int64_t next_layer_ = 0;
  Plane keys_;
  Plane values_;
  Plane key_factors_;        // f32; null unless i8
  Plane value_factors_;      // as key_factors_
  Plane scale_ids_;          // u8
  Plane token_scores_;       // f32; null unless the shape asks for them
  std::vector<Slot> slots_;  // [layer, row, head]
};

}  // namespace nextscale
