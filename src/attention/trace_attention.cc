// SPDX-License-Identifier: Apache-2.0
#include "attention/trace_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "attention/candidates.h"
#include "core/error_format.h"

namespace nextscale {
namespace {

using kernels::AttentionArgs;
using kernels::AttentionHead;

// Keys or values of a head in f32, cache first: [num_keys, head_dim].
void unpack(const AttentionArgs& args, const AttentionHead& head, CandidatePart part, float* out) {
  const Candidates candidates{head.cached, head.current, args.head_dim};
  for (int64_t position = 0; position < candidates.count(); ++position, out += args.head_dim) {
    candidates.read(part, position, out);
  }
}

void softmax_row(const float* query, const std::vector<float>& keys, const AttentionArgs& args,
                 std::span<float> out) {
  std::vector<double> logits(out.size());
  for (size_t key = 0; key < out.size(); ++key) {
    double dot = 0;
    for (int64_t feature = 0; feature < args.head_dim; ++feature) {
      dot += static_cast<double>(query[feature]) *
             static_cast<double>(keys[key * static_cast<size_t>(args.head_dim) + feature]);
    }
    logits[key] = dot * static_cast<double>(args.softmax_scale);
  }
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (double& logit : logits) sum += logit = std::exp(logit - largest);
  std::ranges::transform(logits, out.begin(),
                         [sum](double weight) { return static_cast<float>(weight / sum); });
}

void record_cache(TraceSink& sink, const AttentionArgs& args, CandidatePart part,
                  const std::string& name) {
  const int64_t num_keys = args.heads[0].num_keys();
  Tensor all(DType::kF32, Shape{args.rows, args.kv_heads, num_keys, args.head_dim});
  for (size_t list = 0; list < args.heads.size(); ++list) {
    unpack(args, args.heads[list], part,
           all.as<float>() + list * static_cast<size_t>(num_keys * args.head_dim));
  }
  sink.record(name, all.view());
}

}  // namespace

void trace_attention(TraceSink& sink, const AttentionArgs& args, int scale, int64_t layer,
                     bool with_cache) {
  const int64_t num_keys = args.heads[0].num_keys();
  const int64_t group = args.query_heads / args.kv_heads;
  Tensor probabilities(DType::kF32, Shape{args.rows, args.query_heads, args.queries, num_keys});
  std::vector<float> keys(static_cast<size_t>(num_keys * args.head_dim));
  float* out = probabilities.as<float>();
  for (int64_t list = 0; list < args.rows * args.query_heads; ++list) {
    const AttentionHead& head = args.heads[static_cast<size_t>(list / group)];
    NEXTSCALE_ASSERT(head.attend == nullptr && head.num_keys() == num_keys);
    unpack(args, head, CandidatePart::kKeys, keys.data());
    for (int64_t query = 0; query < args.queries; ++query, out += num_keys) {
      softmax_row(args.q + (list * args.queries + query) * args.head_dim, keys, args,
                  {out, static_cast<size_t>(num_keys)});
    }
  }
  sink.record(fmt::format("attn.{}.{}", scale, layer), probabilities.view());
  if (!with_cache) return;
  record_cache(sink, args, CandidatePart::kKeys, fmt::format("k.{}", layer));
  record_cache(sink, args, CandidatePart::kValues, fmt::format("v.{}", layer));
}

}  // namespace nextscale
