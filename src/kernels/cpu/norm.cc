// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/jobs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Sum of term(x) over the features. Two sums side by side hide the latency of the addition; their
// number and the order of the lanes are fixed by `width` alone.
template <class Term>
HWY_INLINE float sum_features(const float* x, int64_t width, const Term& term) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> single;
  const int64_t step = lanes(d);
  auto even = hn::Zero(d);
  auto odd = hn::Zero(d);
  int64_t feature = 0;
  for (; feature + 2 * step <= width; feature += 2 * step) {
    even = hn::Add(even, term(d, hn::LoadU(d, x + feature)));
    odd = hn::Add(odd, term(d, hn::LoadU(d, x + feature + step)));
  }
  auto tail = hn::Zero(single);
  for (; feature < width; ++feature)
    tail = hn::Add(tail, term(single, hn::LoadU(single, x + feature)));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))) + hn::GetLane(tail);
}

template <class Out>
void normalize_token(const float* x, const float* scale, const float* shift, int64_t width,
                     float epsilon, Out* out) {
  const float mean = sum_features(x, width, [](auto, auto value) HWY_ATTR { return value; }) /
                     static_cast<float>(width);
  const float squares = sum_features(x, width, [mean](auto d, auto value) HWY_ATTR {
    const auto centred = hn::Sub(value, hn::Set(d, mean));
    return hn::Mul(centred, centred);
  });
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
  for_each_vector(width, [&](auto d, int64_t feature) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, x + feature), hn::Set(d, mean));
    const auto normed = hn::Mul(centred, hn::Set(d, inverse));
    const auto factor = hn::Add(hn::Set(d, 1.0F), hn::LoadU(d, scale + feature));
    store_f32_as(d, hn::MulAdd(normed, factor, hn::LoadU(d, shift + feature)), out + feature);
  });
}

void layer_norm_token(const LayerNormArgs& args, int64_t token) {
  const int64_t start = token * args.width;
  const int64_t modulation = token / args.tokens * args.modulation_stride;
  const float* scale = args.scale + modulation;
  const float* shift = args.shift + modulation;
  if (args.out_dtype == DType::kBF16) {
    normalize_token(args.x + start, scale, shift, args.width, args.epsilon,
                    static_cast<BFloat16*>(args.out) + start);
  } else {
    normalize_token(args.x + start, scale, shift, args.width, args.epsilon,
                    static_cast<float*>(args.out) + start);
  }
}

template <class Out>
void rms_normalize(const float* x, const float* weight, int64_t width, float epsilon, Out* out) {
  const float squares =
      sum_features(x, width, [](auto, auto value) HWY_ATTR { return hn::Mul(value, value); });
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(width) + epsilon);
  for_each_vector(width, [&](auto d, int64_t feature) HWY_ATTR {
    const auto normed = hn::Mul(hn::LoadU(d, x + feature), hn::Set(d, inverse));
    store_f32_as(d, hn::Mul(normed, hn::LoadU(d, weight + feature)), out + feature);
  });
}

void rms_norm_token(const RmsNormArgs& args, int64_t token) {
  const float* x = args.x + token * args.width;
  if (args.out_dtype == DType::kBF16) {
    rms_normalize(x, args.weight, args.width, args.epsilon,
                  static_cast<BFloat16*>(args.out) + token * args.width);
  } else {
    rms_normalize(x, args.weight, args.width, args.epsilon,
                  static_cast<float*>(args.out) + token * args.width);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {

HWY_EXPORT(layer_norm_token);
HWY_EXPORT(rms_norm_token);

void layer_norm(const Context& context, const LayerNormArgs& args) {
  for_each_token(context, args.rows * args.tokens, args.width, [&](int64_t token) {
    HWY_DYNAMIC_DISPATCH(layer_norm_token)(args, token);
  });
}

void rms_norm(const Context& context, const RmsNormArgs& args) {
  for_each_token(context, args.tokens, args.width, [&](int64_t token) {
    HWY_DYNAMIC_DISPATCH(rms_norm_token)(args, token);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
