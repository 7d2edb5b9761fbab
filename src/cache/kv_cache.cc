// SPDX-License-Identifier: Apache-2.0
#include "cache/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "core/error_format.h"

namespace nextscale {
namespace {

// The most tokens that the schedule ever keeps for a head.
int64_t head_capacity(const Schedule& schedule, int num_scales, int64_t layer, int64_t head) {
  int64_t capacity = 0;
  for (int step = 0; step < num_scales; ++step) {
    capacity = std::max(capacity, schedule.cached(step, layer, head));
  }
  return capacity;
}

size_t total_tokens(const CacheShape& shape, const Schedule& schedule, int num_scales) {
  int64_t tokens = 0;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      tokens += shape.rows * head_capacity(schedule, num_scales, layer, head);
    }
  }
  return static_cast<size_t>(tokens);
}

}  // namespace

CacheBytes KvCache::planned_bytes(const CacheShape& shape, const Schedule& schedule,
                                  int num_scales) {
  const size_t tokens = total_tokens(shape, schedule, num_scales);
  const size_t half =
      Arena::rounded(tokens * static_cast<size_t>(shape.head_dim) * dtype_bytes(shape.dtype));
  return {.keys_values = 2 * half,
          .scale_ids = Arena::rounded(tokens),
          .token_scores = shape.token_scores ? Arena::rounded(tokens * sizeof(float)) : 0};
}

KvCache::KvCache(const CacheShape& shape, const Schedule& schedule, int num_scales)
    : shape_(shape),
      allocated_(planned_bytes(shape, schedule, num_scales)),
      memory_(allocated_.total(), "the key/value cache") {
  keys_ = memory_.take<std::byte>(allocated_.keys_values / 2).data();
  values_ = memory_.take<std::byte>(allocated_.keys_values / 2).data();
  scale_ids_ = memory_.take<uint8_t>(allocated_.scale_ids).data();
  if (shape.token_scores) {
    token_scores_ = memory_.take<float>(allocated_.token_scores / sizeof(float)).data();
  }
  size_t offset = 0;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t row = 0; row < shape.rows; ++row) {
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        const int64_t capacity = head_capacity(schedule, num_scales, layer, head);
        slots_.push_back({.offset = offset, .capacity = capacity, .length = 0});
        offset += static_cast<size_t>(capacity);
      }
    }
  }
}

kernels::KvSegment KvCache::segment(int64_t layer, int64_t row, int64_t head) const {
  const Slot& slot = slots_[slot_index(layer, row, head)];
  const size_t at = slot.offset * token_bytes();
  return {.k = keys_ + at, .v = values_ + at, .tokens = slot.length, .dtype = shape_.dtype};
}

std::span<const uint8_t> KvCache::scale_ids(int64_t layer, int64_t row, int64_t head) const {
  const Slot& slot = slots_[slot_index(layer, row, head)];
  return {scale_ids_ + slot.offset, static_cast<size_t>(slot.length)};
}

void KvCache::append(int64_t layer, const void* k, const void* v, int64_t tokens, int scale) {
  const size_t bytes = static_cast<size_t>(tokens) * token_bytes();
  const auto* next_k = static_cast<const std::byte*>(k);
  const auto* next_v = static_cast<const std::byte*>(v);
  for (int64_t list = 0; list < shape_.rows * shape_.kv_heads; ++list) {
    Slot& slot = slots_[slot_index(layer, 0, 0) + static_cast<size_t>(list)];
    NEXTSCALE_ASSERT(slot.length + tokens <= slot.capacity);
    const size_t token = slot.offset + static_cast<size_t>(slot.length);
    std::memcpy(keys_ + token * token_bytes(), next_k, bytes);
    std::memcpy(values_ + token * token_bytes(), next_v, bytes);
    std::memset(scale_ids_ + token, scale, static_cast<size_t>(tokens));
    slot.length += tokens;
    next_k += bytes;
    next_v += bytes;
  }
}

std::span<const float> KvCache::token_scores(const CacheList& list) const {
  if (token_scores_ == nullptr) return {};
  const Slot& slot = slots_[slot_index(list.layer, list.row, list.head)];
  return {token_scores_ + slot.offset, static_cast<size_t>(slot.length)};
}

// Ascending positions never lie before the place they move to, so one pass in order is enough.
void KvCache::keep(const CacheList& list, std::span<const int32_t> positions,
                   const CurrentTokens& current, std::span<const float> scores) {
  Slot& slot = slot_of(list);
  NEXTSCALE_ASSERT(static_cast<int64_t>(positions.size()) <= slot.capacity);
  size_t target = slot.offset;
  for (const int32_t position : positions) {
    if (position >= slot.length) {
      const auto at = static_cast<size_t>(position - slot.length) * token_bytes();
      const auto* k = static_cast<const std::byte*>(current.tokens.k) + at;
      const auto* v = static_cast<const std::byte*>(current.tokens.v) + at;
      std::memcpy(keys_ + target * token_bytes(), k, token_bytes());
      std::memcpy(values_ + target * token_bytes(), v, token_bytes());
      scale_ids_[target] = static_cast<uint8_t>(current.scale);
    } else if (const size_t source = slot.offset + static_cast<size_t>(position);
               source != target) {
      std::memcpy(keys_ + target * token_bytes(), keys_ + source * token_bytes(), token_bytes());
      std::memcpy(values_ + target * token_bytes(), values_ + source * token_bytes(),
                  token_bytes());
      scale_ids_[target] = scale_ids_[source];
    }
    if (token_scores_ != nullptr) token_scores_[target] = scores[static_cast<size_t>(position)];
    ++target;
  }
  slot.length = static_cast<int64_t>(positions.size());
}

void KvCache::overwrite(const CacheList& list, const void* k, const void* v) {
  const Slot& slot = slot_of(list);
  const size_t bytes = static_cast<size_t>(slot.length) * token_bytes();
  std::memcpy(keys_ + slot.offset * token_bytes(), k, bytes);
  std::memcpy(values_ + slot.offset * token_bytes(), v, bytes);
}

size_t KvCache::held_bytes() const {
  size_t tokens = 0;
  for (const Slot& slot : slots_) tokens += static_cast<size_t>(slot.length);
  return 2 * tokens * token_bytes();
}

}  // namespace nextscale
