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

// A row as bf16 pairs, each in the bits of an f32; head_dim is even.
template <class Kv>
struct PairRow {
  KvRow<Kv> row;

  template <class D>
  HWY_INLINE hn::VFromD<D> load(D d, int64_t pair) const {
    if constexpr (std::is_same_v<Kv, BFloat16>) {
      return hn::LoadU(d, reinterpret_cast<const float*>(row.elements + 2 * pair));
    } else {
      HWY_ALIGN BFloat16 rounded[2 * kVectorFloats];
      store_f32_as(d, row.load(d, 2 * pair), rounded);
      store_f32_as(d, row.load(d, 2 * pair + lanes(d)), rounded + lanes(d));
      return hn::Load(d, reinterpret_cast<const float*>(rounded));
    }
  }
};

// A row of which kUnit values make a unit, what one step of a product takes in four bytes: an f32
// or a pair of bf16.
template <int64_t kUnit, class Kv>
HWY_INLINE auto in_units(const KvRow<Kv>& row) {
  if constexpr (kUnit == 2) {
    return PairRow<Kv>{row};
  } else {
    return row;
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

// Four keys of `depth` units, transposed, into four consecutive columns of a panel.
template <class Row>
HWY_INLINE void transpose_keys(const Row rows[4], int64_t depth, float* panel) {
#if HWY_TARGET == HWY_SCALAR
  const hn::CappedTag<float, 1> d;
  for (int64_t unit = 0; unit < depth; ++unit) {
    for (int lane = 0; lane < 4; ++lane) {
      hn::StoreU(rows[lane].load(d, unit), d, panel + unit * kPanelKeys + lane);
    }
  }
#else
  const hn::CappedTag<float, 4> d;
  for (int64_t unit = 0; unit < depth; unit += 4) {
    const auto row0 = rows[0].load(d, unit);
    const auto row1 = rows[1].load(d, unit);
    const auto row2 = rows[2].load(d, unit);
    const auto row3 = rows[3].load(d, unit);
    const auto even_low = hn::InterleaveLower(d, row0, row2);
    const auto odd_low = hn::InterleaveLower(d, row1, row3);
    const auto even_high = hn::InterleaveUpper(d, row0, row2);
    const auto odd_high = hn::InterleaveUpper(d, row1, row3);
    float* to = panel + unit * kPanelKeys;
    hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, to);
    hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, to + kPanelKeys);
    hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, to + 2 * kPanelKeys);
    hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, to + 3 * kPanelKeys);
  }
#endif
}

// One key into one column of a panel.
template <class Row>
HWY_INLINE void scatter_key(const Row& row, int64_t depth, float* column) {
  const hn::CappedTag<float, 1> d;
  for (int64_t unit = 0; unit < depth; ++unit) {
    hn::StoreU(row.load(d, unit), d, column + unit * kPanelKeys);
  }
}

// Keys [first, first + count) into panels. The last panel is filled up with copies of the last key,
// whose scores nobody reads. Positions ascend, so four keys lie in one segment if the outer two do.
template <int64_t kUnit = 1>
inline void pack_keys(const AttentionHead& head, int64_t head_dim, int64_t first, int64_t count,
                      float* panels) {
  const int64_t depth = head_dim / kUnit;
  const int64_t padded = (count + kPanelKeys - 1) / kPanelKeys * kPanelKeys;
  for (int64_t key = 0; key < padded; key += 4) {
    KeyPlace places[4];
    for (int64_t lane = 0; lane < 4; ++lane) {
      places[lane] = place_of(head, first + std::min(key + lane, count - 1));
    }
    float* columns = panels + key / kPanelKeys * depth * kPanelKeys + key % kPanelKeys;
    if (places[0].segment == places[3].segment) {
      with_element_type(*places[0].segment, [&](auto element) HWY_ATTR {
        const auto row = [&](int lane) HWY_ATTR {
          return in_units<kUnit>(key_at<decltype(element)>(places[lane], head_dim));
        };
        const decltype(row(0)) rows[4] = {row(0), row(1), row(2), row(3)};
        transpose_keys(rows, depth, columns);
      });
      continue;
    }
    for (const KeyPlace& place : places) {
      with_element_type(*place.segment, [&](auto element) HWY_ATTR {
        scatter_key(in_units<kUnit>(key_at<decltype(element)>(place, head_dim)), depth, columns);
      });
      ++columns;
    }
  }
}

inline void pack_values(const AttentionHead& head, int64_t head_dim, int64_t first, int64_t count,
                        float* values) {
  const int64_t width = padded_head_dim(head_dim);
  for (int64_t key = 0; key < count; ++key, values += kPanelColumns) {
    const KeyPlace place = place_of(head, first + key);
    with_element_type(*place.segment, [&](auto element) HWY_ATTR {
      const auto row = value_at<decltype(element)>(place, head_dim);
      for_each_vector(head_dim, [&](auto d, int64_t feature) HWY_ATTR {
        hn::StoreU(row.load(d, feature), d, values + value_place(feature));
      });
    });
    for (int64_t feature = head_dim; feature < width; ++feature) {
      values[value_place(feature)] = 0.0F;
    }
  }
}

#if NEXTSCALE_HAS_BF16_TILES
// Features of two keys' values beside one another; zeros for the second if there is none.
inline void pair_values(const KeyPlace& even, const KeyPlace& odd, bool has_odd, int64_t head_dim,
                        float* out) {
  const TileTag d;
  const hn::RebindToUnsigned<TileTag> d32;
  const hn::Rebind<uint16_t, TileTag> d16;
  const auto bits = [&](const KeyPlace& place, int64_t feature) HWY_ATTR {
    auto result = hn::Zero(d32);
    with_element_type(*place.segment, [&](auto element) HWY_ATTR {
      const auto row = value_at<decltype(element)>(place, head_dim);
      if constexpr (std::is_same_v<decltype(element), BFloat16>) {
        result = hn::PromoteTo(
            d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(row.elements + feature)));
      } else {
        HWY_ALIGN uint16_t rounded[kVectorFloats];
        store_f32_as(d, row.load(d, feature), reinterpret_cast<BFloat16*>(rounded));
        result = hn::PromoteTo(d32, hn::Load(d16, rounded));
      }
    });
    return result;
  };
  for (int64_t feature = 0; feature < head_dim; feature += lanes(d)) {
    auto pair = bits(even, feature);
    if (has_odd) pair = hn::Or(pair, hn::ShiftLeft<16>(bits(odd, feature)));
    hn::Store(hn::BitCast(d, pair), d, out + value_place(feature));
  }
}

// pack_values() of pairs of keys.
inline void pack_value_pairs(const AttentionHead& head, int64_t head_dim, int64_t first,
                             int64_t count, float* values) {
  for (int64_t key = 0; key < count; key += 2, values += kPanelColumns) {
    const bool has_odd = key + 1 < count;
    pair_values(place_of(head, first + key), place_of(head, first + key + (has_odd ? 1 : 0)),
                has_odd, head_dim, values);
  }
}
#endif

// ---- Weighted values ----------------------------------------------------------------------------

// out[kRows, kVectors vectors] += weights[kRows, count] * values[count, kVectors vectors], `count`
// being units of keys.
template <int kRows, int kVectors, class Step>
HWY_INLINE void output_tile(const float* weights, const float* values, int64_t count, int64_t width,
                            float* out) {
  const TileTag d;
  TileVector sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int part = 0; part < kVectors; ++part) {
      sums[row][part] = hn::Load(d, out + row * width + part * lanes(d));
    }
  }
  for (int64_t key = 0; key < count; ++key, values += kPanelColumns) {
    TileVector value[kVectors];
    for (int part = 0; part < kVectors; ++part) {
      value[part] = hn::Load(d, values + part * lanes(d));
    }
    for (int row = 0; row < kRows; ++row) {
      const TileVector weight = hn::Set(d, weights[row * kScoreStride + key]);
      for (int part = 0; part < kVectors; ++part) {
        sums[row][part] = Step::add(weight, value[part], sums[row][part]);
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

// 2^r on |r| <= 1/2, by Lawson's algorithm. Largest relative errors: 8e-8 and 7e-5, the latter less
// than bf16 shows.
HWY_INLINE TileVector power_of_two(F32Step /*precision*/, TileVector r) {
  const TileTag d;
  TileVector power = hn::Set(d, 1.327645999e-03F);
  power = hn::MulAdd(power, r, hn::Set(d, 9.675541091e-03F));
  power = hn::MulAdd(power, r, hn::Set(d, 5.550713309e-02F));
  power = hn::MulAdd(power, r, hn::Set(d, 2.402211973e-01F));
  power = hn::MulAdd(power, r, hn::Set(d, 6.931469671e-01F));
  return hn::MulAdd(power, r, hn::Set(d, 1.000000072e+00F));
}

#if NEXTSCALE_HAS_BF16_TILES
HWY_INLINE TileVector power_of_two(BF16PairStep /*precision*/, TileVector r) {
  const TileTag d;
  TileVector power = hn::Set(d, 5.517167e-02F);
  power = hn::MulAdd(power, r, hn::Set(d, 2.4261113e-01F));
  power = hn::MulAdd(power, r, hn::Set(d, 6.9326099e-01F));
  return hn::MulAdd(power, r, hn::Set(d, 9.9992807e-01F));
}
#endif

// exp(x) for x <= 0: 2^(n + r) with n the nearest whole number to x / ln 2. The error of r is
// relative to x, so that it is small against exp(0), the largest weight of a softmax. Less than
// exp(-87) is not told apart from it.
template <class Step>
HWY_INLINE TileVector weight_of(TileVector x) {
  const TileTag d;
  const hn::RebindToSigned<TileTag> di;
  constexpr float kLog2E = 1.442695041F;
  constexpr float kLowest = -125.5F;
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: a sum with it has n in its lowest bits
  constexpr int kMantissaBits = 23;
  const TileVector exponent =
      hn::Max(hn::Set(d, kLowest), hn::Mul(x, hn::Set(d, kLog2E)));  // NaN stays
  const TileVector shifted = hn::Add(exponent, hn::Set(d, kRounder));
  const TileVector r = hn::Sub(exponent, hn::Sub(shifted, hn::Set(d, kRounder)));
  const auto n = hn::ShiftLeft<kMantissaBits>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, power_of_two(Step(), r)), n));
}

// Turns scores into exp(score - highest) and returns their sum.
HWY_INLINE float weigh(float* scores, int64_t count, float highest) {
  const TileTag d;
  const auto reference = hn::Set(d, highest);
  auto total = hn::Zero(d);
  int64_t key = 0;
  for (; key + lanes(d) <= count; key += lanes(d)) {
    const auto weight = weight_of<F32Step>(hn::Sub(hn::Load(d, scores + key), reference));
    total = hn::Add(total, weight);
    hn::Store(weight, d, scores + key);
  }
  if (key < count) {
    const auto is_key = hn::FirstN(d, static_cast<size_t>(count - key));
    const auto weight = weight_of<F32Step>(hn::Sub(hn::Load(d, scores + key), reference));
    total = hn::Add(total, hn::IfThenElseZero(is_key, weight));
    hn::Store(weight, d, scores + key);
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}

#if NEXTSCALE_HAS_BF16_TILES
// Turns scores into bf16 pairs of exp(score - highest), the second of an odd number's last pair
// being zero, and returns their sum.
HWY_INLINE float weigh_in_pairs(float* scores, int64_t count, float highest) {
  const TileTag d;
  const auto reference = hn::Set(d, highest);
  auto total = hn::Zero(d);
  const auto weight = [&](int64_t key) HWY_ATTR {
    auto result = weight_of<BF16PairStep>(hn::Sub(hn::Load(d, scores + key), reference));
    if (key + lanes(d) > count) {
      const auto left = static_cast<size_t>(std::max<int64_t>(count - key, 0));
      result = hn::IfThenElseZero(hn::FirstN(d, left), result);
    }
    total = hn::Add(total, result);
    return result;
  };
  for (int64_t key = 0; key < count; key += 2 * lanes(d)) {
    const auto low = weight(key);
    const auto high = weight(key + lanes(d));
    TileVector pairs;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(pairs.raw) : "v"(low.raw), "v"(high.raw));
    hn::Store(pairs, d, scores + key / 2);
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}
#endif

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

// ---- Arithmetic ---------------------------------------------------------------------------------

struct F32Attention {
  using Step = F32Step;
  static constexpr int64_t kUnit = 1;
  static constexpr auto pack_values = HWY_NAMESPACE::pack_values;
  static constexpr auto weigh = HWY_NAMESPACE::weigh;
};

#if NEXTSCALE_HAS_BF16_TILES
// Everything that is multiplied is rounded to bf16; sums are f32.
struct BF16Attention {
  using Step = BF16PairStep;
  static constexpr int64_t kUnit = 2;
  static constexpr auto pack_values = pack_value_pairs;
  static constexpr auto weigh = weigh_in_pairs;
};
#endif

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per instruction set
