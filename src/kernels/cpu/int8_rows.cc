// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/int8_rows.h"

#include <algorithm>

#include "core/int8_row.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/int8_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// A NaN is passed over, as by quantize_row().
float largest_magnitude(const BFloat16* row, int64_t count) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> single;
  auto vector = hn::Zero(d);
  int64_t index = 0;
  for (; index + lanes(d) <= count; index += lanes(d)) {
    vector = hn::Max(hn::Abs(load_as_f32(d, row + index)), vector);
  }
  auto largest = hn::Set(single, hn::GetLane(hn::MaxOfLanes(d, vector)));
  for (; index < count; ++index) {
    largest = hn::Max(hn::Abs(load_as_f32(single, row + index)), largest);
  }
  return hn::GetLane(largest);
}

void round_elements(const BFloat16* row, int64_t count, float inverse, uint8_t* out) {
  for_each_vector(count, [&](auto d, int64_t index) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    const auto scaled = hn::Mul(load_as_f32(d, row + index), hn::Set(d, inverse));
    // The bound comes back for a NaN.
    const auto bounded = hn::Max(hn::Min(scaled, hn::Set(d, kInt8Most)), hn::Set(d, -kInt8Most));
    const auto stored = hn::Add(hn::NearestInt(bounded), hn::Set(di, kInt8Offset));
    hn::StoreU(hn::DemoteTo(d8, stored), d8, out + index);
  });
}

template <class Out>
HWY_INLINE void finish(const Int8Outputs& outputs, const int32_t* sums, float x_factor, Out* y) {
  for_each_vector(outputs.count, [&](auto d, int64_t index) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const auto sum = hn::Sub(hn::LoadU(di, sums + index), hn::LoadU(di, outputs.offsets + index));
    const auto factor = hn::Mul(hn::Set(d, x_factor), hn::LoadU(d, outputs.factors + index));
    auto value = hn::MulAdd(hn::ConvertTo(d, sum), factor, hn::LoadU(d, outputs.bias + index));
    if (outputs.activation == Activation::kGeluTanh) value = gelu_tanh_of(d, value);
    store_f32_as(d, value, y + index);
  });
}

void finish_outputs(const Int8Outputs& outputs, const int32_t* sums, float x_factor, void* y) {
  if (outputs.dtype == DType::kBF16) {
    finish(outputs, sums, x_factor, static_cast<BFloat16*>(y));
  } else {
    finish(outputs, sums, x_factor, static_cast<float*>(y));
  }
}

// For kOutputs rows of weights at once, so that x is widened once for all.
template <int kOutputs>
HWY_INLINE void dot_products(const uint8_t* row, const int8_t* weights, int64_t depth,
                             int32_t* sums) {
  const hn::ScalableTag<int16_t> d16;
  const hn::Repartition<int32_t, decltype(d16)> d32;
  const hn::Rebind<uint8_t, decltype(d16)> du8;
  const hn::Rebind<int8_t, decltype(d16)> di8;
  hn::VFromD<decltype(d32)> low[kOutputs];
  hn::VFromD<decltype(d32)> high[kOutputs];
  for (int output = 0; output < kOutputs; ++output) low[output] = high[output] = hn::Zero(d32);
  for (int64_t index = 0; index < depth; index += lanes(d16)) {
    const auto x = hn::PromoteTo(d16, hn::LoadU(du8, row + index));
    for (int output = 0; output < kOutputs; ++output) {
      const auto weight = hn::PromoteTo(d16, hn::LoadU(di8, weights + output * depth + index));
      low[output] = hn::ReorderWidenMulAccumulate(d32, x, weight, low[output], high[output]);
    }
  }
  for (int output = 0; output < kOutputs; ++output) {
    sums[output] = hn::GetLane(hn::SumOfLanes(d32, hn::Add(low[output], high[output])));
  }
}

void multiply_outputs(const uint8_t* row, const int8_t* weights, int64_t depth, int64_t outputs,
                      int32_t* sums) {
  constexpr int kTogether = 4;
  int64_t output = 0;
  for (; output + kTogether <= outputs; output += kTogether) {
    dot_products<kTogether>(row, weights + output * depth, depth, sums + output);
  }
  for (; output < outputs; ++output) {
    dot_products<1>(row, weights + output * depth, depth, sums + output);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {

HWY_EXPORT(largest_magnitude);
HWY_EXPORT(round_elements);
HWY_EXPORT(finish_outputs);
HWY_EXPORT(multiply_outputs);

float round_row(std::span<const BFloat16> row, std::span<uint8_t> out) {
  const auto count = static_cast<int64_t>(row.size());
  const auto [factor, inverse] =
      int8_scale(HWY_DYNAMIC_DISPATCH(largest_magnitude)(row.data(), count));
  HWY_DYNAMIC_DISPATCH(round_elements)(row.data(), count, inverse, out.data());
  std::ranges::fill(out.subspan(row.size()), static_cast<uint8_t>(kInt8Offset));
  return factor;
}

void finish_row(const Int8Outputs& outputs, const int32_t* sums, float x_factor, void* y) {
  HWY_DYNAMIC_DISPATCH(finish_outputs)(outputs, sums, x_factor, y);
}

void multiply_row(const uint8_t* row, const int8_t* weights, int64_t depth, int64_t outputs,
                  int32_t* sums) {
  HWY_DYNAMIC_DISPATCH(multiply_outputs)(row, weights, depth, outputs, sums);
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
