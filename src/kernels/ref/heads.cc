// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

// Below this length a vector is not scaled up any further (PyTorch's F.normalize).
constexpr double kLengthFloor = 1e-12;

double length(const float* x, int64_t count) {
  double squares = 0.0;
  for (int64_t index = 0; index < count; ++index) squares += double{x[index]} * x[index];
  return std::max(std::sqrt(squares), kLengthFloor);
}

// Where one head of one token goes.
struct Target {
  void* data;
  DType dtype;
  int64_t heads;
  bool normalize;
};

}  // namespace

void split_heads(const Context& /*context*/, const SplitHeadsArgs& args) {
  const Target targets[] = {{args.q, DType::kF32, args.query_heads, args.normalize},
                            {args.k, args.kv_dtype, args.kv_heads, args.normalize},
                            {args.v, args.kv_dtype, args.kv_heads, false}};
  const float* x = args.qkv;
  for (int64_t token = 0; token < args.rows * args.tokens; ++token) {
    const int64_t row = token / args.tokens;
    for (const Target& target : targets) {
      for (int64_t head = 0; head < target.heads; ++head, x += args.head_dim) {
        const double divisor = target.normalize ? length(x, args.head_dim) : 1.0;
        const bool scaled = args.normalize && target.data == args.q;
        const double factor = scaled ? args.head_scale[head] : 1.0;
        const int64_t start =
            ((row * target.heads + head) * args.tokens + token % args.tokens) * args.head_dim;
        for (int64_t feature = 0; feature < args.head_dim; ++feature) {
          store(target.data, target.dtype, start + feature, x[feature] / divisor * factor);
        }
      }
    }
  }
}

}  // namespace nextscale::kernels::ref
