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
  bool is_value;
};

// One head of one token after normalisation: element `feature`.
struct HeadVector {
  const float* x;
  double divisor;
  double factor;

  double operator[](int64_t feature) const { return x[feature] / divisor * factor; }
};

double rotated(const SplitHeadsArgs& args, const HeadVector& vector, int64_t token,
               int64_t feature) {
  const int64_t at = token * args.head_dim + feature;
  return vector[feature] * args.cosines[at] + vector[feature ^ 1] * args.sines[at];
}

}  // namespace

void split_heads(const Context& /*context*/, const SplitHeadsArgs& args) {
  const Target targets[] = {{args.q, DType::kF32, args.query_heads, false},
                            {args.k, args.kv_dtype, args.kv_heads, false},
                            {args.v, args.kv_dtype, args.kv_heads, true}};
  const float* x = args.qkv;
  for (int64_t row_token = 0; row_token < args.rows * args.tokens; ++row_token) {
    const int64_t row = row_token / args.tokens;
    const int64_t token = row_token % args.tokens;
    for (const Target& target : targets) {
      const bool normalized = args.normalize && !target.is_value;
      const bool turned = args.cosines != nullptr && !target.is_value;
      for (int64_t head = 0; head < target.heads; ++head, x += args.head_dim) {
        const bool scaled = args.normalize && target.data == args.q;
        const HeadVector vector{x, normalized ? length(x, args.head_dim) : 1.0,
                                scaled ? args.head_scale[head] : 1.0};
        const int64_t start = ((row * target.heads + head) * args.tokens + token) * args.head_dim;
        for (int64_t feature = 0; feature < args.head_dim; ++feature) {
          store(target.data, target.dtype, start + feature,
                turned ? rotated(args, vector, token, feature) : vector[feature]);
        }
      }
    }
  }
}

}  // namespace nextscale::kernels::ref
