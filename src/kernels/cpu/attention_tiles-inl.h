// SPDX-License-Identifier: Apache-2.0
// Inner loops of the fast attention kernel: packing keys and values, the second product (the first
// is in register_tiles-inl.h), and the softmax of one row. Compiled once per instruction set, see
// vector-inl.h.
#include "kernels/cpu/register_tiles-inl.h"

#if defined(NEXTSCALE_KERNELS_CPU_ATTENTION_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NEXTSCALE_KERNELS_CPU_ATTENTION_TILES_INL_H_
#undef NEXTSCALE_KERNELS_CPU_ATTENTION_TILES_INL_H_
#else
#define NEXTSCALE_KERNELS_CPU_ATTENTION_TILES_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/attention_job.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// ---- Packing ------------------------------------------------------------------------------------

// Where one of the attended keys lies.
struct KeyPlace {
  const KvSegment* segment = nullptr;
  int64_t token = 0;
};

HWY_INLINE KeyPlace place_of(const AttentionHead& head, int64_t key) {
  const int64_t position = head.attend != nullptr ? head.attend[key] : key;
  if (position < head.cached.tokens) return {&head.cached, position};
  return {&head.current, position - head.cached.tokens};
}

// A key or a value, read as f32.
template <class Kv>
struct KvRow {
  const Kv* elements;

  template <class D>
  HWY_INLINE hn::VFromD<D> load(D d, int64_t feature) const {
    return load_as_f32(d, elements + feature);
  }
};

template <>
struct KvRow<int8_t> {
  const int8_t* elements;
  float factor;

  template <class D>
  HWY_INLINE hn::VFromD<D> load(D d, int64_t feature) const {
    return hn::Mul(load_as_f32(d, elements + feature), hn::Set(d, factor));
  }
};

template <class Kv>
HWY_INLINE KvRow<Kv> key_at(const KeyPlace& place, int64_t head_dim) {
  const auto* elements = static_cast<const Kv*>(place.segment->k) + place.token * head_dim;
  if constexpr (std::is_same_v<Kv, int8_t>) {
    return {elements, place.segment->k_factors[place.token]};
  } else {
    return {elements};
  }
}

template <class Kv>
HWY_INLINE KvRow<Kv> value_at(const KeyPlace& place, int64_t head_dim) {
  const auto* elements = static_cast<const Kv*>(place.segment->v) + place.token * head_dim;
  if constexpr (std::is_same_v<Kv, int8_t>) {
    return {elements, place.segment->v_factors[place.token]};
  } else {
    return {elements};
  }
}

// Calls body with a value of the segment's element type.
template <class Body>
HWY_INLINE void with_element_type(const KvSegment& segment, const Body& body) {
  if (segment.dtype == DType::kI8) {
    body(int8_t{});
  } else if (segment.dtype == DType::kBF16) {
    body(BFloat16{});
  } else {
    body(float{});
  }
}

// Four keys, transposed, into four consecutive columns of a panel.
template <class Row>
HWY_INLINE void transpose_keys(const Row rows[4], int64_t head_dim, float* panel) {
#if HWY_TARGET == HWY_SCALAR
  const hn::CappedTag<float, 1> d;
  for (int64_t feature = 0; feature < head_dim; ++feature) {
    for (int lane = 0; lane < 4; ++lane) {
      hn::StoreU(rows[lane].load(d, feature), d, panel + feature * kPanelKeys + lane);
    }
  }
#else
  const hn::CappedTag<float, 4> d;
  for (int64_t feature = 0; feature < head_dim; feature += 4) {
    const auto row0 = rows[0].load(d, feature);
    const auto row1 = rows[1].load(d, feature);
    const auto row2 = rows[2].load(d, feature);
    const auto row3 = rows[3].load(d, feature);
    const auto even_low = hn::InterleaveLower(d, row0, row2);
    const auto odd_low = hn::InterleaveLower(d, row1, row3);
    const auto even_high = hn::InterleaveUpper(d, row0, row2);
    const auto odd_high = hn::InterleaveUpper(d, row1, row3);
    float* to = panel + feature * kPanelKeys;
    hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
    hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + kPanelKeys);
    hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * kPanelKeys);
    hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * kPanelKeys);
  }
#endif
}

// One key into one column of a panel.
template <class Row>
HWY_INLINE void scatter_key(const Row& row, int64_t head_dim, float* column) {
  const hn::CappedTag<float, 1> d;
  for (int64_t feature = 0; feature < head_dim; ++feature) {
    hn::StoreU(row.load(d, feature), d, column + feature * kPanelKeys);
  }
}

// Keys [first, first + count) into panels. The last panel is filled up with copies of the last key,
// whose scores nobody reads. Positions ascend, so four keys lie in one segment if the outer two do.
inline void pack_keys(const AttentionHead& head, int64_t head_dim, int64_t first, int64_t count,
                      float* panels) {
  const int64_t padded = (count + kPanelKeys - 1) / kPanelKeys * kPanelKeys;
  for (int64_t key = 0; key < padded; key += 4) {
    KeyPlace places[4];
    for (int64_t lane = 0; lane < 4; ++lane) {
      places[lane] = place_of(head, first + std::min(key + lane, count - 1));
    }
    float* columns = panels + key / kPanelKeys * head_dim * kPanelKeys + key % kPanelKeys;
    if (places[0].segment == places[3].segment) {
      with_element_type(*places[0].segment, [&](auto element) HWY_ATTR {
        using Kv = decltype(element);
        const KvRow<Kv> rows[4] = {key_at<Kv>(places[0], head_dim), key_at<Kv>(places[1], head_dim),
                                   key_at<Kv>(places[2], head_dim),
                                   key_at<Kv>(places[3], head_dim)};
        transpose_keys(rows, head_dim, columns);
      });
      continue;
    }
    for (const KeyPlace& place : places) {
      with_element_type(*place.segment, [&](auto element) HWY_ATTR {
        scatter_key(key_at<decltype(element)>(place, head_dim), head_dim, columns);
      });
      ++columns;
    }
  }
}

inline void pack_values(const AttentionHead& head, int64_t head_dim, int64_t first, int64_t count,
                        float* values) {
  const int64_t width = padded_head_dim(head_dim);
  for (int64_t key = 0; key < count; ++key, values += width) {
    const KeyPlace place = place_of(head, first + key);
    with_element_type(*place.segment, [&](auto element) HWY_ATTR {
      const auto row = value_at<decltype(element)>(place, head_dim);
      for_each_vector(head_dim, [&](auto d, int64_t feature) HWY_ATTR {
        hn::StoreU(row.load(d, feature), d, values + feature);
      });
    });
    std::fill(values + head_dim, values + width, 0.0F);
  }
}

// ---- Weighted values ----------------------------------------------------------------------------

// out[kRows, kVectors vectors] += weights[kRows, count] * values[count, kVectors vectors]
template <int kRows, int kVectors>
HWY_INLINE void output_tile(const float* weights, const float* values, int64_t count, int64_t width,
                            float* out) {
  const TileTag d;
  TileVector sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int part = 0; part < kVectors; ++part) {
      sums[row][part] = hn::Load(d, out + row * width + part * lanes(d));
    }
  }
  for (int64_t key = 0; key < count; ++key, values += width) {
    TileVector value[kVectors];
    for (int part = 0; part < kVectors; ++part) {
      value[part] = hn::Load(d, values + part * lanes(d));
    }
    for (int row = 0; row < kRows; ++row) {
      const TileVector weight = hn::Set(d, weights[row * kScoreStride + key]);
      for (int part = 0; part < kVectors; ++part) {
        sums[row][part] = hn::MulAdd(weight, value[part], sums[row][part]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int part = 0; part < kVectors; ++part) {
      hn::Store(sums[row][part], d, out + row * width + part * lanes(d));
    }
  }
}

// ---- Softmax ------------------------------------------------------------------------------------

HWY_INLINE void add_bias(float* scores, const float* bias, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t key) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, scores + key), hn::LoadU(d, bias + key)), d, scores + key);
  });
}

HWY_INLINE float highest_of(const float* scores, int64_t count) {
  const TileTag d;
  auto highest = hn::Set(d, -HUGE_VALF);
  int64_t key = 0;
  for (; key + lanes(d) <= count; key += lanes(d)) {
    highest = hn::Max(highest, hn::Load(d, scores + key));
  }
  if (key < count) {  // the row is padded, so the whole vector may be read
    const auto is_key = hn::FirstN(d, static_cast<size_t>(count - key));
    highest = hn::Max(highest, hn::IfThenElse(is_key, hn::Load(d, scores + key), highest));
  }
  return hn::GetLane(hn::MaxOfLanes(d, highest));
}

// Turns scores into exp(score - highest) and returns their sum.
HWY_INLINE float weigh(float* scores, int64_t count, float highest) {
  const TileTag d;
  const auto reference = hn::Set(d, highest);
  auto total = hn::Zero(d);
  int64_t key = 0;
  for (; key + lanes(d) <= count; key += lanes(d)) {
    const auto weight = exp_of(d, hn::Sub(hn::Load(d, scores + key), reference));
    total = hn::Add(total, weight);
    hn::Store(weight, d, scores + key);
  }
  if (key < count) {
    const auto is_key = hn::FirstN(d, static_cast<size_t>(count - key));
    const auto weight = exp_of(d, hn::Sub(hn::Load(d, scores + key), reference));
    total = hn::Add(total, hn::IfThenElseZero(is_key, weight));
    hn::Store(weight, d, scores + key);
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}

HWY_INLINE float exp_of_one(float x) {
  const hn::CappedTag<float, 1> d;
  return hn::GetLane(exp_of(d, hn::Set(d, x)));
}

HWY_INLINE void scale_row(float* row, int64_t width, float factor) {
  const TileTag d;
  for (int64_t column = 0; column < width; column += lanes(d)) {
    hn::Store(hn::Mul(hn::Load(d, row + column), hn::Set(d, factor)), d, row + column);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per instruction set
