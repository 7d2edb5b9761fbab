// SPDX-License-Identifier: Apache-2.0
#include "cache/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "core/error_format.h"
#include "core/int8_row.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

// The most tokens that the schedule ever keeps for a head.
int64_t head_capacity(const Schedule& schedule, int64_t layer, int64_t head) {
  int64_t capacity = 0;
  for (int step = 0; step < schedule.steps(); ++step) {
    capacity = std::max(capacity, schedule.cached(step, layer, head));
  }
  return capacity;
}

// Token places of one row if every list had its own.
int64_t own_places(const CacheShape& shape, const Schedule& schedule) {
  int64_t tokens = 0;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      tokens += head_capacity(schedule, layer, head);
    }
  }
  return tokens;
}

size_t row_bytes(const CacheShape& shape) {
  return static_cast<size_t>(shape.head_dim) * dtype_bytes(shape.dtype);
}

// How many of the kept candidates are cached tokens; the others are current ones.
int64_t num_kept_cached(const KeptTokens& kept, int64_t cached) {
  if (!kept.positions) return cached;
  return std::ranges::lower_bound(*kept.positions, cached) - kept.positions->begin();
}

// Length of a list that held `cached` of the kept tokens.
int64_t num_kept(const KeptTokens& kept, int64_t cached) {
  return kept.positions ? static_cast<int64_t>(kept.positions->size())
                        : cached + kept.current.tokens;
}

// Splits ascending positions into runs of neighbours: body(index of the first, first, count).
template <typename Body>
void for_each_run(std::span<const int32_t> positions, const Body& body) {
  size_t first = 0;
  while (first < positions.size()) {
    size_t end = first + 1;
    while (end < positions.size() && positions[end] == positions[end - 1] + 1) ++end;
    body(static_cast<int64_t>(first), int64_t{positions[first]}, static_cast<int64_t>(end - first));
    first = end;
  }
}

}  // namespace

CacheBytes KvCache::planned_bytes(const CacheShape& shape, const Schedule& schedule) {
  const auto tokens = static_cast<size_t>(shape.rows * schedule.most_held());
  CacheBytes bytes{.keys_values = 2 * Arena::rounded(tokens * row_bytes(shape)),
                   .scale_ids = Arena::rounded(tokens)};
  if (shape.dtype == DType::kI8) bytes.factors = 2 * Arena::rounded(tokens * sizeof(float));
  if (shape.token_scores) bytes.token_scores = Arena::rounded(tokens * sizeof(float));
  return bytes;
}

KvCache::KvCache(const CacheShape& shape, const Schedule& schedule)
    : shape_(shape),
      allocated_(planned_bytes(shape, schedule)),
      memory_(allocated_.total(), "the key/value cache"),
      num_places_(shape.rows * schedule.most_held()),
      moves_(shape.rows * own_places(shape, schedule) > num_places_) {
  keys_ = take_plane(row_bytes(shape));
  values_ = take_plane(row_bytes(shape));
  scale_ids_ = take_plane(sizeof(uint8_t));
  if (shape.dtype == DType::kI8) {
    key_factors_ = take_plane(sizeof(float));
    value_factors_ = take_plane(sizeof(float));
  }
  if (shape.token_scores) token_scores_ = take_plane(sizeof(float));
  slots_.resize(static_cast<size_t>(shape.layers * shape.rows * shape.kv_heads));
  if (moves_) return;
  int64_t offset = 0;
  for (size_t list = 0; list < slots_.size(); ++list) {
    slots_[list].offset = offset;
    const auto head = static_cast<int64_t>(list) % shape.kv_heads;
    const auto layer = static_cast<int64_t>(list) / (shape.rows * shape.kv_heads);
    offset += head_capacity(schedule, layer, head);
  }
}

KvCache::Plane KvCache::take_plane(size_t token_bytes) {
  const auto places = static_cast<size_t>(num_places_);
  return {static_cast<std::byte*>(memory_.take_bytes(places * token_bytes)), token_bytes};
}

kernels::KvSegment KvCache::segment(int64_t layer, int64_t row, int64_t head) const {
  const Slot& slot = slots_[slot_index(layer, row, head)];
  kernels::KvSegment result{.k = keys_.at(slot.offset),
                            .v = values_.at(slot.offset),
                            .tokens = slot.length,
                            .dtype = shape_.dtype};
  if (shape_.dtype == DType::kI8) {
    result.k_factors = reinterpret_cast<const float*>(key_factors_.at(slot.offset));
    result.v_factors = reinterpret_cast<const float*>(value_factors_.at(slot.offset));
  }
  return result;
}

std::span<const uint8_t> KvCache::scale_ids(int64_t layer, int64_t row, int64_t head) const {
  const Slot& slot = slots_[slot_index(layer, row, head)];
  return {reinterpret_cast<const uint8_t*>(scale_ids_.at(slot.offset)),
          static_cast<size_t>(slot.length)};
}

std::span<const float> KvCache::token_scores(const CacheList& list) const {
  if (!shape_.token_scores) return {};
  const Slot& slot = slots_[slot_index(list.layer, list.row, list.head)];
  return {reinterpret_cast<const float*>(token_scores_.at(slot.offset)),
          static_cast<size_t>(slot.length)};
}

void KvCache::store(const Context& context, int64_t layer, int scale,
                    std::span<const KeptTokens> lists) {
  NEXTSCALE_ASSERT(layer == next_layer_);
  next_layer_ = (layer + 1) % shape_.layers;
  const std::span<Slot> slots = layer_slots(layer);
  const auto at = [](int64_t index) { return static_cast<size_t>(index); };
  const auto count = static_cast<int64_t>(slots.size());
  parallel_for(context.num_threads, count,
               [&](int64_t list, int /*worker*/) { compact(slots[at(list)], lists[at(list)]); });
  if (moves_) make_room(layer, lists);
  parallel_for(context.num_threads, count, [&](int64_t list, int /*worker*/) {
    append(slots[at(list)], lists[at(list)], scale);
  });
}

// Moves the cached tokens that stay together. None lies before the place it moves to, so one pass
// in order is enough.
void KvCache::compact(Slot& slot, const KeptTokens& kept) const {
  const int64_t remaining = num_kept_cached(kept, slot.length);
  slot.evicted = slot.length - remaining;
  if (slot.evicted == 0) return;
  for_each_run(kept.positions->first(static_cast<size_t>(remaining)),
               [&](int64_t index, int64_t first, int64_t tokens) {
                 move_tokens(slot.offset + index, slot.offset + first, tokens);
               });
  slot.length = remaining;
}

// Puts the lists of a layer behind the layer before, each with room for its current tokens.
//
// Lists keep their order, so one that moves to the front only passes over places of lists that did
// so before it, and one that moves to the back over places of lists that did so after it: the first
// kind goes in order, the second in reverse.
void KvCache::make_room(int64_t layer, std::span<const KeptTokens> lists) {
  const std::span<Slot> slots = layer_slots(layer);
  const bool is_last = layer + 1 == shape_.layers;
  int64_t place = 0;
  if (layer > 0) {
    const Slot& before = layer_slots(layer - 1).back();
    place = before.offset + before.length;
  }
  int64_t wanted = 0;
  for (size_t list = 0; list < slots.size(); ++list) {
    wanted += num_kept(lists[list], slots[list].length);
  }
  if (!is_last && place + wanted > layer_slots(layer + 1).front().offset) push_back(layer + 1);
  NEXTSCALE_ASSERT(place + wanted <=
                   (is_last ? num_places_ : layer_slots(layer + 1).front().offset));
  for (size_t list = 0; list < slots.size(); ++list) {
    if (place < slots[list].offset) move_list(slots[list], place);
    place += num_kept(lists[list], slots[list].length);
  }
  for (size_t list = slots.size(); list-- > 0;) {
    place -= num_kept(lists[list], slots[list].length);
    if (place > slots[list].offset) move_list(slots[list], place);
  }
}

int64_t KvCache::end_of_room(const Slot& slot) const {
  const Slot* next = &slot + 1;
  return next == slots_.data() + slots_.size() ? num_places_ : next->offset;
}

// Moves the layers from this one on, which lie together, to the end.
void KvCache::push_back(int64_t first_layer) {
  const std::span<Slot> slots = std::span(slots_).subspan(slot_index(first_layer, 0, 0));
  const int64_t begin = slots.front().offset;
  const int64_t end = slots.back().offset + slots.back().length;
  const int64_t distance = num_places_ - end;
  move_tokens(begin + distance, begin, end - begin);
  for (Slot& slot : slots) slot.offset += distance;
}

void KvCache::move_list(Slot& slot, int64_t to) const {
  move_tokens(to, slot.offset, slot.length);
  slot.offset = to;
}

void KvCache::move_tokens(int64_t to, int64_t from, int64_t tokens) const {
  if (to == from || tokens == 0) return;
  for (const Plane& plane :
       {keys_, values_, key_factors_, value_factors_, scale_ids_, token_scores_}) {
    if (plane.data == nullptr) continue;
    std::memmove(plane.at(to), plane.at(from), static_cast<size_t>(tokens) * plane.token_bytes);
  }
}

// Adds the kept ones of the current tokens, then what all tokens of the list carry anew.
void KvCache::append(Slot& slot, const KeptTokens& kept, int scale) const {
  const int64_t cached = slot.length;
  const int64_t candidates = cached + slot.evicted;
  const int64_t length = num_kept(kept, cached);
  const auto added = static_cast<size_t>(length - cached);
  NEXTSCALE_ASSERT(slot.offset + length <= end_of_room(slot));
  if (kept.positions) {
    for_each_run(kept.positions->last(added), [&](int64_t index, int64_t first, int64_t tokens) {
      write(slot.offset + cached + index, kept.current, first - candidates, tokens);
    });
  } else {
    write(slot.offset + cached, kept.current, 0, kept.current.tokens);
  }
  std::memset(scale_ids_.at(slot.offset + cached), scale, added);
  for (int64_t index = 0; index < static_cast<int64_t>(kept.absorbed.size()); ++index) {
    if (kept.absorbed[static_cast<size_t>(index)] == 0) continue;
    write(slot.offset + index, kept.merged, index, 1);
  }
  slot.length = length;
  if (!shape_.token_scores) return;
  auto* scores = reinterpret_cast<float*>(token_scores_.at(slot.offset));
  for (int64_t index = 0; index < length; ++index) {
    const int64_t position = kept.positions ? (*kept.positions)[static_cast<size_t>(index)] : index;
    scores[index] = kept.scores[static_cast<size_t>(position)];
  }
}

void KvCache::write(int64_t place, const kernels::KvSegment& from, int64_t first,
                    int64_t tokens) const {
  const size_t token_bytes = static_cast<size_t>(shape_.head_dim) * dtype_bytes(from.dtype);
  const auto* k = static_cast<const std::byte*>(from.k) + static_cast<size_t>(first) * token_bytes;
  const auto* v = static_cast<const std::byte*>(from.v) + static_cast<size_t>(first) * token_bytes;
  if (shape_.dtype != DType::kI8) {
    NEXTSCALE_ASSERT(from.dtype == shape_.dtype);
    std::memcpy(keys_.at(place), k, static_cast<size_t>(tokens) * token_bytes);
    std::memcpy(values_.at(place), v, static_cast<size_t>(tokens) * token_bytes);
    return;
  }
  for (int64_t token = place; token < place + tokens; ++token) {
    quantize_token(k, from.dtype, token, keys_, key_factors_);
    quantize_token(v, from.dtype, token, values_, value_factors_);
    k += token_bytes;
    v += token_bytes;
  }
}

void KvCache::quantize_token(const void* row, DType dtype, int64_t token, const Plane& rows,
                             const Plane& factors) const {
  const auto count = static_cast<size_t>(shape_.head_dim);
  const std::span out(reinterpret_cast<int8_t*>(rows.at(token)), count);
  const float factor = dtype == DType::kBF16
                           ? quantize_row(std::span(static_cast<const BFloat16*>(row), count), out)
                           : quantize_row(std::span(static_cast<const float*>(row), count), out);
  std::memcpy(factors.at(token), &factor, sizeof(factor));
}

size_t KvCache::token_bytes(const CacheShape& shape) {
  return 2 * (row_bytes(shape) + (shape.dtype == DType::kI8 ? sizeof(float) : 0));
}

size_t KvCache::held_bytes() const {
  int64_t tokens = 0;
  for (const Slot& slot : slots_) tokens += slot.length;
  return static_cast<size_t>(tokens) * token_bytes(shape_);
}

}  // namespace nextscale
