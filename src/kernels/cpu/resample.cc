// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/resample.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// out[0 .. width) = sum over `count` of weights[index] * x[index, 0 .. width).
HWY_INLINE void weighted_sum(const float* weights, const float* x, int64_t count, int64_t width,
                             float* out) {
  for_each_vector(width, [&](auto d, int64_t element) HWY_ATTR {
    auto sum = hn::Zero(d);
    for (int64_t index = 0; index < count; ++index) {
      sum = hn::MulAdd(hn::Set(d, weights[index]), hn::LoadU(d, x + index * width + element), sum);
    }
    hn::StoreU(sum, d, out + element);
  });
}

void resample_row(const ResampleArgs& args, int64_t out_row) {
  const int64_t in_row_elements = args.in_width * args.channels;
  float* mixed = args.scratch + out_row * in_row_elements;
  weighted_sum(args.rows + out_row * args.in_height, args.x, args.in_height, in_row_elements,
               mixed);
  for (int64_t out_column = 0; out_column < args.out_width; ++out_column) {
    weighted_sum(args.columns + out_column * args.in_width, mixed, args.in_width, args.channels,
                 args.out + (out_row * args.out_width + out_column) * args.channels);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {

HWY_EXPORT(resample_row);

void resample(const Context& context, const ResampleArgs& args) {
  parallel_for(context.num_threads, args.out_height, [&](int64_t out_row, int) {
    HWY_DYNAMIC_DISPATCH(resample_row)(args, out_row);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
