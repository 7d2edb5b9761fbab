// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

enum class Part { kKeys, kValues };

// Element `feature` of the key (or value) that is number `key` of those attended.
double key_element(const AttentionHead& head, Part part, int64_t head_dim, int64_t key,
                   int64_t feature) {
  const int64_t position = head.attend != nullptr ? head.attend[key] : key;
  const bool is_cached = position < head.cached.tokens;
  const KvSegment& segment = is_cached ? head.cached : head.current;
  const int64_t token = is_cached ? position : position - head.cached.tokens;
  const void* data = part == Part::kKeys ? segment.k : segment.v;
  const double element = load(data, segment.dtype, token * head_dim + feature);
  if (segment.dtype != DType::kI8) return element;
  return element * (part == Part::kKeys ? segment.k_factors : segment.v_factors)[token];
}

// Softmax weights of one query over all keys of its head, not yet divided by their sum.
double score_keys(const AttentionArgs& args, const AttentionHead& head, const float* query,
                  std::span<double> weights) {
  double highest = -INFINITY;
  for (size_t key = 0; key < weights.size(); ++key) {
    double sum = 0.0;
    for (int64_t feature = 0; feature < args.head_dim; ++feature) {
      sum += query[feature] *
             key_element(head, Part::kKeys, args.head_dim, static_cast<int64_t>(key), feature);
    }
    weights[key] = args.softmax_scale * sum;
    if (head.bias != nullptr) weights[key] += head.bias[key];
    highest = std::max(highest, weights[key]);
  }
  double total = 0.0;
  for (double& weight : weights) {
    weight = std::exp(weight - highest);
    total += weight;
  }
  return total;
}

}  // namespace

size_t attention_scratch(const Context& /*context*/, const AttentionArgs& /*shape*/,
                         int64_t max_keys) {
  return Arena::rounded(static_cast<size_t>(max_keys) * sizeof(double));
}

void attention(const Context& context, const AttentionArgs& args) {
  const int64_t group = args.query_heads / args.kv_heads;
  const int64_t count = args.rows * args.query_heads * args.queries;
  for (int64_t index = 0; index < count; ++index) {
    const int64_t query = index % args.queries;
    const int64_t query_head = index / args.queries % args.query_heads;
    const int64_t row = index / args.queries / args.query_heads;
    const AttentionHead& head =
        args.heads[static_cast<size_t>(row * args.kv_heads + query_head / group)];
    const ArenaScope scope(*context.scratch);
    const auto weights = context.scratch->take<double>(static_cast<size_t>(head.num_keys()));
    const double total = score_keys(args, head, args.q + index * args.head_dim, weights);
    const int64_t start =
        ((row * args.queries + query) * args.query_heads + query_head) * args.head_dim;
    for (int64_t feature = 0; feature < args.head_dim; ++feature) {
      double sum = 0.0;
      for (size_t key = 0; key < weights.size(); ++key) {
        sum += weights[key] *
               key_element(head, Part::kValues, args.head_dim, static_cast<int64_t>(key), feature);
      }
      store(args.out, args.out_dtype, start + feature, sum / total);
    }
  }
}

}  // namespace nextscale::kernels::ref
