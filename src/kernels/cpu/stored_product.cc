// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu.h"
#include "kernels/linear_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stored_product.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Four sums side by side, so that multiply-adds need not wait for one another.
float dot(const float* x, const float* weights, int64_t count) {
  const hn::ScalableTag<float> d;
  const int64_t step = lanes(d);
  auto sum_0 = hn::Zero(d);
  auto sum_1 = sum_0;
  auto sum_2 = sum_0;
  auto sum_3 = sum_0;
  int64_t at = 0;
  const auto add = [&](int64_t place, auto sum) HWY_ATTR {
    return hn::MulAdd(hn::LoadU(d, x + place), hn::LoadU(d, weights + place), sum);
  };
  for (; at + 4 * step <= count; at += 4 * step) {
    sum_0 = add(at, sum_0);
    sum_1 = add(at + step, sum_1);
    sum_2 = add(at + 2 * step, sum_2);
    sum_3 = add(at + 3 * step, sum_3);
  }
  for (; at + step <= count; at += step) sum_0 = add(at, sum_0);
  const auto sum = hn::Add(hn::Add(sum_0, sum_1), hn::Add(sum_2, sum_3));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; at < count; ++at) total += x[at] * weights[at];
  return total;
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {

HWY_EXPORT(dot);

void stored_product(const Context& context, const StoredProductArgs& args) {
  kernels::stored_product(context, args, [](const float* x, const float* weights, int64_t count) {
    return HWY_DYNAMIC_DISPATCH(dot)(x, weights, count);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
