// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

// Attention of one query over all keys of its head.
std::vector<double> attention_row(const AttentionArgs& args, const AttentionHead& head,
                                  const float* query) {
  std::vector<double> row;
  for (const KvSegment& segment : {head.cached, head.current}) {
    for (int64_t key = 0; key < segment.tokens; ++key) {
      double sum = 0.0;
      for (int64_t feature = 0; feature < args.head_dim; ++feature) {
        sum += query[feature] * load(segment.k, segment.dtype, key * args.head_dim + feature);
      }
      if (segment.dtype == DType::kI8) sum *= segment.k_factors[key];
      row.push_back(args.softmax_scale * sum);
    }
  }
  const double highest = *std::ranges::max_element(row);
  double total = 0.0;
  for (double& value : row) total += value = std::exp(value - highest);
  for (double& value : row) value /= total;
  return row;
}

// What one query head gathers over its queries.
struct Sums {
  std::vector<double> scales;
  std::vector<double> columns;
  std::vector<double> squares;
  double top = 0.0;

  void add(const AttentionProfileArgs& args, std::vector<double> row) {
    for (size_t key = 0; key < row.size(); ++key) {
      columns[key] += row[key];
      squares[key] += row[key] * row[key];
    }
    const auto& ends = args.scale_ends;
    for (size_t scale = 0; scale < ends.size(); ++scale) {
      const auto first = row.begin() + (scale == 0 ? 0 : ends[scale - 1]);
      scales[scale] += std::accumulate(first, row.begin() + ends[scale], 0.0);
    }
    if (ends.size() < 2) return;
    const auto history = row.begin() + ends[ends.size() - 2];
    std::sort(row.begin(), history, std::greater<>());
    const int64_t count = std::min(args.num_top, ends[ends.size() - 2]);
    top += std::accumulate(row.begin(), row.begin() + count, 0.0);
  }
};

}  // namespace

size_t attention_profile_scratch(const Context& /*context*/, const AttentionArgs& /*shape*/,
                                 int64_t /*max_keys*/) {
  return 0;
}

void attention_profile(const Context& /*context*/, const AttentionProfileArgs& args) {
  const AttentionArgs& attention = *args.attention;
  const int64_t group = attention.query_heads / attention.kv_heads;
  const auto queries = static_cast<double>(attention.queries);
  const size_t num_scales = args.scale_ends.size();
  const auto num_keys = static_cast<size_t>(args.scale_ends.back());
  for (int64_t index = 0; index < attention.rows * attention.query_heads; ++index) {
    // Heads lie one below the other in every row, so this is also the number of the kv head.
    const AttentionHead& head = attention.heads[static_cast<size_t>(index / group)];
    Sums sums{.scales = std::vector<double>(num_scales),
              .columns = std::vector<double>(num_keys),
              .squares = std::vector<double>(num_keys)};
    for (int64_t query = 0; query < attention.queries; ++query) {
      const int64_t at = index * attention.queries + query;
      sums.add(args, attention_row(attention, head, attention.q + at * attention.head_dim));
    }
    for (size_t scale = 0; scale < num_scales; ++scale) {
      args.mass[static_cast<size_t>(index) * num_scales + scale] = sums.scales[scale] / queries;
    }
    args.top[index] = sums.top / queries;
    if (args.variance == nullptr) continue;
    args.variance[index] = 0.0;
    for (size_t key = 0; key < num_keys; ++key) {
      const double mean = sums.columns[key] / queries;
      args.variance[index] += std::max(sums.squares[key] / queries - mean * mean, 0.0);
    }
  }
}

}  // namespace nextscale::kernels::ref
