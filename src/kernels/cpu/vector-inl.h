// SPDX-License-Identifier: Apache-2.0
// Vector code that several kernels share: exponential, SiLU, GELU, memory as f32. Compiled once per
// instruction set: include it inside the part of a file that hwy/foreach_target.h repeats.
//
// Tails are done with single-lane vectors by the same code, so an element's result does not depend
// on its place in the array, and nothing is read or written past the end.
#include "hwy/highway.h"

#if defined(NEXTSCALE_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NEXTSCALE_KERNELS_CPU_VECTOR_INL_H_
#undef NEXTSCALE_KERNELS_CPU_VECTOR_INL_H_
#else
#define NEXTSCALE_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <cstdint>

#include "core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE int64_t lanes(D d) {
  return static_cast<int64_t>(hn::Lanes(d));
}

// Calls body(tag, index) for whole vectors, then for single elements, in order.
template <class Body>
HWY_INLINE void for_each_vector(int64_t count, const Body& body) {
  const hn::ScalableTag<float> whole;
  const hn::CappedTag<float, 1> single;
  int64_t index = 0;
  for (; index + lanes(whole) <= count; index += lanes(whole)) body(whole, index);
  for (; index < count; ++index) body(single, index);
}

// exp(x) with a relative error below 1.2e-7. Saturates instead of leaving the normal numbers: what
// is below -87.3 gives 1.2e-38. NaN stays NaN.
//
// x = n ln 2 + r; exp(r) = 1 + r + r^2 q(r) on |r| <= ln(2) / 2, q by the Remez exchange algorithm
// (largest relative error of exp before rounding: 3.1e-9).
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V exp_of(D d, V x) {
  const hn::RebindToSigned<D> di;
  constexpr float kLowest = -87.3F;  // exp of these is a normal number
  constexpr float kHighest = 88.3F;
  constexpr float kLog2E = 1.442695041F;
  constexpr float kLn2High = 0.693115234375F;  // 12 bits: n times this is exact
  constexpr float kLn2Low = 3.194618495e-05F;
  constexpr int kExponentBias = 127;
  constexpr int kMantissaBits = 23;
  // The second operand comes back if one is NaN.
  x = hn::Min(hn::Set(d, kHighest), hn::Max(hn::Set(d, kLowest), x));
  const V n = hn::Round(hn::Mul(x, hn::Set(d, kLog2E)));
  const V r = hn::NegMulAdd(n, hn::Set(d, kLn2Low), hn::NegMulAdd(n, hn::Set(d, kLn2High), x));
  V q = hn::Set(d, 1.381454013e-03F);
  q = hn::MulAdd(q, r, hn::Set(d, 8.368745108e-03F));
  q = hn::MulAdd(q, r, hn::Set(d, 4.166839078e-02F));
  q = hn::MulAdd(q, r, hn::Set(d, 1.666652040e-01F));
  q = hn::MulAdd(q, r, hn::Set(d, 4.999999343e-01F));
  const V exp_r = hn::Add(hn::MulAdd(hn::Mul(r, r), q, r), hn::Set(d, 1.0F));
  const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, kExponentBias));
  return hn::Mul(exp_r, hn::BitCast(d, hn::ShiftLeft<kMantissaBits>(exponent)));
}

// x / (1 + exp(-x))
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V silu_of(D d, V x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp_of(d, hn::Neg(x))));
}

// The tanh form of GELU: 0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u)).
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V gelu_tanh_of(D d, V x) {
  constexpr float kCubic = 0.044715F;
  constexpr float kMinusTwoSqrtTwoOverPi = -1.595769122F;
  const V inner = hn::MulAdd(hn::Mul(hn::Set(d, kCubic), hn::Mul(x, x)), x, x);
  const V exponent = hn::Mul(hn::Set(d, kMinusTwoSqrtTwoOverPi), inner);
  return hn::Div(x, hn::Add(hn::Set(d, 1.0F), exp_of(d, exponent)));
}

template <class D>
HWY_INLINE hn::VFromD<D> load_as_f32(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::VFromD<D> load_as_f32(D d, const BFloat16* from) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

template <class D>
HWY_INLINE hn::VFromD<D> load_as_f32(D d, const int8_t* from) {
  const hn::Rebind<int8_t, D> d8;
  const hn::RebindToSigned<D> d32;
  return hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, from)));
}

template <class D>
HWY_INLINE void store_f32_as(D d, hn::VFromD<D> value, float* to) {
  hn::StoreU(value, d, to);
}

// Rounds to nearest, ties to even, NaN stays NaN, as to_bf16() does. (Highway 1.0 truncates.)
template <class D>
HWY_INLINE void store_f32_as(D /*d*/, hn::VFromD<D> value, BFloat16* to) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> di32;
  const auto bits = hn::BitCast(d32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1U));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::Set(d32, 0x7fffU), odd)));
  const auto quiet_nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d32, 0x40U));
  const auto is_nan = hn::RebindMask(d32, hn::Ne(value, value));
  const auto upper = hn::IfThenElse(is_nan, quiet_nan, rounded);
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di32, upper)), d16, reinterpret_cast<uint16_t*>(to));
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per instruction set
