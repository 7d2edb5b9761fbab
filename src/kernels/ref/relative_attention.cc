// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

// Tokens [first, end) of one head.
struct HeadOfSequence {
  const RelativeAttentionArgs* args = nullptr;
  int64_t first = 0;
  int64_t end = 0;
  int64_t head = 0;

  int64_t element(int64_t token) const { return (token * args->heads + head) * args->head_dim; }
};

double score(const HeadOfSequence& part, int64_t query, int64_t key) {
  const RelativeAttentionArgs& args = *part.args;
  double sum = args.bias[part.head * (2 * args.reach + 1) + args.reach + key - query];
  for (int64_t feature = 0; feature < args.head_dim; ++feature) {
    sum += double{args.q[part.element(query) + feature]} * args.k[part.element(key) + feature];
  }
  return sum;
}

void attend(const HeadOfSequence& part, int64_t query, std::span<double> weights) {
  const RelativeAttentionArgs& args = *part.args;
  double highest = -INFINITY;
  for (int64_t key = part.first; key < part.end; ++key) {
    double& weight = weights[static_cast<size_t>(key - part.first)];
    weight = score(part, query, key);
    highest = std::max(highest, weight);
  }
  double total = 0.0;
  for (double& weight : weights) {
    weight = std::exp(weight - highest);
    total += weight;
  }
  for (int64_t feature = 0; feature < args.head_dim; ++feature) {
    double sum = 0.0;
    for (int64_t key = part.first; key < part.end; ++key) {
      sum += weights[static_cast<size_t>(key - part.first)] * args.v[part.element(key) + feature];
    }
    store(args.out, args.out_dtype, part.element(query) + feature, sum / total);
  }
}

}  // namespace

size_t relative_attention_scratch(const Context& /*context*/,
                                  const RelativeAttentionArgs& /*shape*/, int64_t longest) {
  return Arena::rounded(static_cast<size_t>(longest) * sizeof(double));
}

void relative_attention(const Context& context, const RelativeAttentionArgs& args) {
  HeadOfSequence part{.args = &args};
  for (size_t sequence = 0; sequence + 1 < args.starts.size(); ++sequence) {
    part.first = args.starts[sequence];
    part.end = args.starts[sequence + 1];
    const ArenaScope scope(*context.scratch);
    const auto weights = context.scratch->take<double>(static_cast<size_t>(part.end - part.first));
    for (part.head = 0; part.head < args.heads; ++part.head) {
      for (int64_t query = part.first; query < part.end; ++query) attend(part, query, weights);
    }
  }
}

}  // namespace nextscale::kernels::ref
