// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {

void layer_norm(const Context& /*context*/, const LayerNormArgs& args) {
  const double width = static_cast<double>(args.width);
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* scale = args.scale + row * args.modulation_stride;
    const float* shift = args.shift + row * args.modulation_stride;
    for (int64_t token = 0; token < args.tokens; ++token) {
      const int64_t start = (row * args.tokens + token) * args.width;
      const float* x = args.x + start;
      double sum = 0.0;
      for (int64_t feature = 0; feature < args.width; ++feature) sum += x[feature];
      const double mean = sum / width;
      double squares = 0.0;
      for (int64_t feature = 0; feature < args.width; ++feature) {
        squares += (x[feature] - mean) * (x[feature] - mean);
      }
      const double inverse = 1.0 / std::sqrt(squares / width + args.epsilon);
      for (int64_t feature = 0; feature < args.width; ++feature) {
        const double normed = (x[feature] - mean) * inverse;
        store(args.out, args.out_dtype, start + feature,
              normed * (1.0 + scale[feature]) + shift[feature]);
      }
    }
  }
}

void rms_norm(const Context& /*context*/, const RmsNormArgs& args) {
  for (int64_t token = 0; token < args.tokens; ++token) {
    const int64_t start = token * args.width;
    double squares = 0.0;
    for (int64_t feature = 0; feature < args.width; ++feature) {
      squares += double{args.x[start + feature]} * args.x[start + feature];
    }
    const double inverse =
        1.0 / std::sqrt(squares / static_cast<double>(args.width) + args.epsilon);
    for (int64_t feature = 0; feature < args.width; ++feature) {
      store(args.out, args.out_dtype, start + feature,
            args.x[start + feature] * inverse * args.weight[feature]);
    }
  }
}

}  // namespace nextscale::kernels::ref
