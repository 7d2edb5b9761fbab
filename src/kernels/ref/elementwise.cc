// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {

void gated_add(const Context& /*context*/, const GatedAddArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* gate = args.gate + row * args.gate_stride;
    for (int64_t token = 0; token < args.tokens; ++token) {
      const int64_t start = (row * args.tokens + token) * args.width;
      for (int64_t feature = 0; feature < args.width; ++feature) {
        args.x[start + feature] += gate[feature] * args.y[start + feature];
      }
    }
  }
}

void silu(const Context& /*context*/, const float* x, void* out, DType out_dtype, int64_t count) {
  for (int64_t index = 0; index < count; ++index) {
    const double value = x[index];
    store(out, out_dtype, index, value / (1.0 + std::exp(-value)));
  }
}

void add(const Context& /*context*/, float* x, const float* y, int64_t count) {
  for (int64_t index = 0; index < count; ++index) x[index] += y[index];
}

void multiply(const Context& /*context*/, void* x, const void* y, DType dtype, int64_t count) {
  for (int64_t index = 0; index < count; ++index) {
    store(x, dtype, index, load(x, dtype, index) * load(y, dtype, index));
  }
}

void blend(const Context& /*context*/, float a, const float* x, float b, const float* y, float* out,
           int64_t count) {
  for (int64_t index = 0; index < count; ++index) {
    out[index] = static_cast<float>(double{a} * x[index] + double{b} * y[index]);
  }
}

}  // namespace nextscale::kernels::ref
