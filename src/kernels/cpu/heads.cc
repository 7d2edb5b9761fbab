// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/jobs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/heads.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Below this length a vector is not scaled up any further (PyTorch's F.normalize).
constexpr float kLengthFloor = 1e-12F;
// Of a head that is rotated, so that its working memory is on the stack.
constexpr int64_t kMaxHeadDim = 1024;

HWY_INLINE float length_of(const float* x, int64_t count) {
  const hn::ScalableTag<float> d;
  auto squares = hn::Zero(d);
  float tail = 0.0F;
  int64_t index = 0;
  for (; index + lanes(d) <= count; index += lanes(d)) {
    const auto value = hn::LoadU(d, x + index);
    squares = hn::MulAdd(value, value, squares);
  }
  for (; index < count; ++index) tail += x[index] * x[index];
  return std::max(std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares)) + tail), kLengthFloor);
}

template <class Out>
HWY_INLINE void scaled_copy(const float* x, float divisor, float factor, Out* out, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    const auto quotient = hn::Div(hn::LoadU(d, x + index), hn::Set(d, divisor));
    store_f32_as(d, hn::Mul(quotient, hn::Set(d, factor)), out + index);
  });
}

// What happens to one head of one token.
struct HeadTreatment {
  float divisor = 1.0F;
  float factor = 1.0F;
  const float* cosines = nullptr;  // [head_dim]; null: no rotation
  const float* sines = nullptr;
};

template <class Out>
HWY_INLINE void rotated_copy(const float* x, const HeadTreatment& treatment, Out* out,
                             int64_t count) {
  float straight[kMaxHeadDim];
  float swapped[kMaxHeadDim];
  scaled_copy(x, treatment.divisor, treatment.factor, straight, count);
  for (int64_t index = 0; index < count; index += 2) {
    swapped[index] = straight[index + 1];
    swapped[index + 1] = straight[index];
  }
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    const auto turned =
        hn::Mul(hn::LoadU(d, swapped + index), hn::LoadU(d, treatment.sines + index));
    store_f32_as(
        d,
        hn::MulAdd(hn::LoadU(d, straight + index), hn::LoadU(d, treatment.cosines + index), turned),
        out + index);
  });
}

template <class Out>
HWY_INLINE void treated_copy(const float* x, const HeadTreatment& treatment, Out* out,
                             int64_t count) {
  if (treatment.cosines != nullptr) return rotated_copy(x, treatment, out, count);
  scaled_copy(x, treatment.divisor, treatment.factor, out, count);
}

// For q or k of this token, before length and scale of the head are known.
HWY_INLINE HeadTreatment rotation_of(const SplitHeadsArgs& args, int64_t token) {
  if (args.cosines == nullptr) return {};
  const int64_t at = token * args.head_dim;
  return {.cosines = args.cosines + at, .sines = args.sines + at};
}

// k or v of one token: heads [kv_heads, head_dim] at x to [kv_heads, tokens, head_dim].
template <class Out>
void split_kv(const SplitHeadsArgs& args, const float* x, bool normalize, HeadTreatment treatment,
              Out* out) {
  const int64_t stride = args.tokens * args.head_dim;
  for (int64_t head = 0; head < args.kv_heads; ++head, x += args.head_dim, out += stride) {
    if (normalize) treatment.divisor = length_of(x, args.head_dim);
    treated_copy(x, treatment, out, args.head_dim);
  }
}

void split_token(const SplitHeadsArgs& args, int64_t row_token) {
  const int64_t row = row_token / args.tokens;
  const int64_t token = row_token % args.tokens;
  const float* x = args.qkv + row_token * (args.query_heads + 2 * args.kv_heads) * args.head_dim;
  const HeadTreatment rotation = rotation_of(args, token);
  for (int64_t head = 0; head < args.query_heads; ++head, x += args.head_dim) {
    HeadTreatment treatment = rotation;
    if (args.normalize) {
      treatment.divisor = length_of(x, args.head_dim);
      treatment.factor = args.head_scale[head];
    }
    const int64_t place = (row * args.query_heads + head) * args.tokens + token;
    treated_copy(x, treatment, args.q + place * args.head_dim, args.head_dim);
  }
  const float* v = x + args.kv_heads * args.head_dim;
  const int64_t start = (row * args.kv_heads * args.tokens + token) * args.head_dim;
  if (args.kv_dtype == DType::kBF16) {
    split_kv(args, x, args.normalize, rotation, static_cast<BFloat16*>(args.k) + start);
    split_kv(args, v, false, {}, static_cast<BFloat16*>(args.v) + start);
  } else {
    split_kv(args, x, args.normalize, rotation, static_cast<float*>(args.k) + start);
    split_kv(args, v, false, {}, static_cast<float*>(args.v) + start);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {

HWY_EXPORT(split_token);

void split_heads(const Context& context, const SplitHeadsArgs& args) {
  NEXTSCALE_ASSERT(args.cosines == nullptr || (args.head_dim % 2 == 0 && args.head_dim <= 1024));
  const int64_t width = (args.query_heads + 2 * args.kv_heads) * args.head_dim;
  for_each_token(context, args.rows * args.tokens, width, [&](int64_t token) {
    HWY_DYNAMIC_DISPATCH(split_token)(args, token);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
