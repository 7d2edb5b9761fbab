// SPDX-License-Identifier: Apache-2.0
#include "attention/column_statistics.h"

#include <algorithm>
#include <cmath>

#include "policies/queries.h"

namespace nextscale {
namespace {

// Keeps 0 ln 0 at 0 (MEDA's official code).
constexpr double kSmallestProbability = 1e-12;

void logits_row(const float* query, const ObservedHead& head, const Candidates& candidates,
                std::span<float> key, std::span<double> row) {
  for (size_t at = 0; at < row.size(); ++at) {
    candidates.read(CandidatePart::kKeys, static_cast<int64_t>(at), key.data());
    row[at] = dot(query, key.data(), candidates.head_dim) * static_cast<double>(head.softmax_scale);
  }
}

void softmax_row(std::span<double> row) {
  const double largest = *std::ranges::max_element(row);
  double sum = 0;
  for (double& value : row) sum += value = std::exp(value - largest);
  for (double& value : row) value /= sum;
}

void add_row(size_t count, ColumnStatistics& out) {
  for (size_t at = 0; at < count; ++at) {
    const double weight = out.row[at];
    out.row_sums[at] += weight;
    out.row_squares[at] += weight * weight;
    out.row_entropies[at] -= weight * std::log(std::max(weight, kSmallestProbability));
  }
}

// Adds what one query head has collected, as its share of the group.
void add_head(size_t count, int64_t num_queries, int64_t group, ColumnStatistics& out) {
  const double share = 1.0 / static_cast<double>(group);
  const auto queries = static_cast<double>(num_queries);
  for (size_t at = 0; at < count; ++at) {
    const double sum = out.row_sums[at];
    const double spread = std::max(out.row_squares[at] - sum * sum / queries, 0.0);
    out.sums[at] += static_cast<float>(share * sum);
    out.entropies[at] += static_cast<float>(share * out.row_entropies[at]);
    if (num_queries > 1) out.variances[at] += static_cast<float>(share * spread / (queries - 1));
  }
}

}  // namespace

ColumnStatistics ColumnStatistics::take(Arena& arena, int64_t max_candidates, int64_t head_dim) {
  const auto count = static_cast<size_t>(max_candidates);
  return {.sums = arena.take<float>(count),
          .variances = arena.take<float>(count),
          .entropies = arena.take<float>(count),
          .row = arena.take<double>(count),
          .row_sums = arena.take<double>(count),
          .row_squares = arena.take<double>(count),
          .row_entropies = arena.take<double>(count),
          .key = arena.take<float>(static_cast<size_t>(head_dim))};
}

size_t ColumnStatistics::bytes(int64_t max_candidates, int64_t head_dim) {
  const auto count = static_cast<size_t>(max_candidates);
  return 3 * Arena::rounded(count * sizeof(float)) + 4 * Arena::rounded(count * sizeof(double)) +
         Arena::rounded(static_cast<size_t>(head_dim) * sizeof(float));
}

void observe_columns(const Needs& needs, const ObservedHead& head, const Candidates& candidates,
                     ColumnStatistics& out) {
  const auto count = static_cast<size_t>(candidates.count());
  const int64_t num_queries = num_observed(needs, head.map);
  for (std::span<float> values : {out.sums, out.variances, out.entropies}) {
    std::ranges::fill(values.first(count), 0.0F);
  }
  for (int64_t member = 0; member < head.group; ++member) {
    for (std::span<double> values : {out.row_sums, out.row_squares, out.row_entropies}) {
      std::ranges::fill(values.first(count), 0.0);
    }
    for (int64_t index = 0; index < num_queries; ++index) {
      const int64_t query = observed_query(needs, head.map, index);
      const std::span<double> row = out.row.first(count);
      logits_row(head.q + (member * head.map.tokens() + query) * candidates.head_dim, head,
                 candidates, out.key, row);
      if (needs.observed == ObservedValues::kAttention) softmax_row(row);
      add_row(count, out);
    }
    add_head(count, num_queries, head.group, out);
  }
}

}  // namespace nextscale
