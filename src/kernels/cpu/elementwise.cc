// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/jobs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

template <class Out>
void silu_to(const float* x, Out* out, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    store_f32_as(d, silu_of(d, hn::LoadU(d, x + index)), out + index);
  });
}

void silu_to_f32(const float* x, float* out, int64_t count) { silu_to(x, out, count); }
void silu_to_bf16(const float* x, BFloat16* out, int64_t count) { silu_to(x, out, count); }

void add_span(float* x, const float* y, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, x + index), hn::LoadU(d, y + index)), d, x + index);
  });
}

template <class T>
void multiply_span(T* x, const T* y, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    store_f32_as(d, hn::Mul(load_as_f32(d, x + index), load_as_f32(d, y + index)), x + index);
  });
}

void multiply_f32(float* x, const float* y, int64_t count) { multiply_span(x, y, count); }
void multiply_bf16(BFloat16* x, const BFloat16* y, int64_t count) { multiply_span(x, y, count); }

void blend_span(float a, const float* x, float b, const float* y, float* out, int64_t count) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    const auto second = hn::Mul(hn::Set(d, b), hn::LoadU(d, y + index));
    hn::StoreU(hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + index), second), d, out + index);
  });
}

void gated_add_token(float* x, const float* y, const float* gate, int64_t width) {
  for_each_vector(width, [&](auto d, int64_t index) HWY_ATTR {
    const auto gated =
        hn::MulAdd(hn::LoadU(d, gate + index), hn::LoadU(d, y + index), hn::LoadU(d, x + index));
    hn::StoreU(gated, d, x + index);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(silu_to_f32);
HWY_EXPORT(silu_to_bf16);
HWY_EXPORT(add_span);
HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_bf16);
HWY_EXPORT(blend_span);
HWY_EXPORT(gated_add_token);

// Calls body(first, count) for pieces of [0, count).
template <class Body>
void for_each_piece(const Context& context, int64_t count, const Body& body) {
  const int64_t pieces = (count + kElementsPerJob - 1) / kElementsPerJob;
  parallel_for(context.num_threads, pieces, [&](int64_t piece, int) {
    const int64_t first = piece * kElementsPerJob;
    body(first, std::min(kElementsPerJob, count - first));
  });
}

}  // namespace

void silu(const Context& context, const float* x, void* out, DType out_dtype, int64_t count) {
  for_each_piece(context, count, [&](int64_t first, int64_t length) {
    if (out_dtype == DType::kBF16) {
      HWY_DYNAMIC_DISPATCH(silu_to_bf16)(x + first, static_cast<BFloat16*>(out) + first, length);
    } else {
      HWY_DYNAMIC_DISPATCH(silu_to_f32)(x + first, static_cast<float*>(out) + first, length);
    }
  });
}

void add(const Context& context, float* x, const float* y, int64_t count) {
  for_each_piece(context, count, [&](int64_t first, int64_t length) {
    HWY_DYNAMIC_DISPATCH(add_span)(x + first, y + first, length);
  });
}

void multiply(const Context& context, void* x, const void* y, DType dtype, int64_t count) {
  for_each_piece(context, count, [&](int64_t first, int64_t length) {
    if (dtype == DType::kBF16) {
      HWY_DYNAMIC_DISPATCH(multiply_bf16)
      (static_cast<BFloat16*>(x) + first, static_cast<const BFloat16*>(y) + first, length);
    } else {
      HWY_DYNAMIC_DISPATCH(multiply_f32)
      (static_cast<float*>(x) + first, static_cast<const float*>(y) + first, length);
    }
  });
}

void blend(const Context& context, float a, const float* x, float b, const float* y, float* out,
           int64_t count) {
  for_each_piece(context, count, [&](int64_t first, int64_t length) {
    HWY_DYNAMIC_DISPATCH(blend_span)(a, x + first, b, y + first, out + first, length);
  });
}

void gated_add(const Context& context, const GatedAddArgs& args) {
  for_each_token(context, args.rows * args.tokens, args.width, [&](int64_t token) {
    HWY_DYNAMIC_DISPATCH(gated_add_token)
    (args.x + token * args.width, args.y + token * args.width,
     args.gate + token / args.tokens * args.gate_stride, args.width);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
