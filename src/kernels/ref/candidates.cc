// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

// Keeps 0 ln 0 at 0 (MEDA's official code).
constexpr double kSmallestProbability = 1e-12;

// Values per candidate, and a workspace for one row of A.
struct Columns {
  std::span<double> row;
  std::span<double> sums;
  std::span<double> squares;
  std::span<double> entropies;
};

constexpr int64_t kNumColumns = 4;

Columns lay_out(const ColumnStatisticsArgs& args) {
  const auto count = static_cast<size_t>(args.candidates());
  const std::span all(static_cast<double*>(static_cast<void*>(args.workspace.data())),
                      kNumColumns * count);
  return {.row = all.first(count),
          .sums = all.subspan(count, count),
          .squares = all.subspan(2 * count, count),
          .entropies = all.subspan(3 * count, count)};
}

double key_element(const ColumnStatisticsArgs& args, int64_t candidate, int64_t feature) {
  const bool is_cached = candidate < args.cached.tokens;
  const KvSegment& segment = is_cached ? args.cached : args.current;
  const int64_t token = is_cached ? candidate : candidate - args.cached.tokens;
  const double element = load(segment.k, segment.dtype, token * args.head_dim + feature);
  return segment.dtype == DType::kI8 ? element * segment.k_factors[token] : element;
}

void score_keys(const ColumnStatisticsArgs& args, const float* query, std::span<double> row) {
  for (size_t at = 0; at < row.size(); ++at) {
    double sum = 0.0;
    for (int64_t feature = 0; feature < args.head_dim; ++feature) {
      sum += query[feature] * key_element(args, static_cast<int64_t>(at), feature);
    }
    row[at] = args.softmax_scale * sum;
  }
}

void softmax(std::span<double> row) {
  const double highest = *std::ranges::max_element(row);
  double total = 0.0;
  for (double& value : row) total += value = std::exp(value - highest);
  for (double& value : row) value /= total;
}

void add_row(const Columns& columns) {
  for (size_t at = 0; at < columns.row.size(); ++at) {
    const double value = columns.row[at];
    columns.sums[at] += value;
    columns.squares[at] += value * value;
    columns.entropies[at] -= value * std::log(std::max(value, kSmallestProbability));
  }
}

// Adds what one query head has collected, as its share of the group.
void add_head(const ColumnStatisticsArgs& args, const Columns& columns) {
  const double share = 1.0 / static_cast<double>(args.group);
  const auto queries = static_cast<double>(args.observed.size());
  for (size_t at = 0; at < columns.row.size(); ++at) {
    const double sum = columns.sums[at];
    args.sums[at] += static_cast<float>(share * sum);
    if (args.entropies != nullptr) {
      args.entropies[at] += static_cast<float>(share * columns.entropies[at]);
    }
    if (args.variances == nullptr || queries == 1) continue;
    const double spread = std::max(columns.squares[at] - sum * sum / queries, 0.0);
    args.variances[at] += static_cast<float>(share * spread / (queries - 1));
  }
}

}  // namespace

size_t column_statistics_workspace(int64_t candidates, int64_t /*observed*/, int64_t /*head_dim*/) {
  return static_cast<size_t>(kNumColumns * candidates) * sizeof(double);
}

void column_statistics(const ColumnStatisticsArgs& args) {
  for (float* values : {args.sums, args.variances, args.entropies}) {
    if (values != nullptr) std::fill_n(values, args.candidates(), 0.0F);
  }
  const Columns columns = lay_out(args);
  for (int64_t member = 0; member < args.group; ++member) {
    for (const std::span<double> values : {columns.sums, columns.squares, columns.entropies}) {
      std::ranges::fill(values, 0.0);
    }
    for (const int32_t query : args.observed) {
      score_keys(args, args.q + (member * args.queries + query) * args.head_dim, columns.row);
      if (args.softmax) softmax(columns.row);
      add_row(columns);
    }
    add_head(args, columns);
  }
}

void value_lengths(const KvSegment& segment, int64_t head_dim, float* out) {
  for (int64_t token = 0; token < segment.tokens; ++token) {
    const double factor = segment.dtype == DType::kI8 ? segment.v_factors[token] : 1.0;
    double squares = 0.0;
    for (int64_t feature = 0; feature < head_dim; ++feature) {
      const double element = factor * load(segment.v, segment.dtype, token * head_dim + feature);
      squares += element * element;
    }
    out[token] = static_cast<float>(std::sqrt(squares));
  }
}

size_t nearest_workspace(int64_t /*width*/) { return 0; }

void nearest(const NearestArgs& args) {
  for (int64_t row = 0; row < args.count; ++row) {
    double highest = -INFINITY;
    args.nearest[row] = 0;
    for (int64_t target = 0; target < args.num_targets; ++target) {
      double product = 0.0;
      for (int64_t feature = 0; feature < args.width; ++feature) {
        product += double{args.x[row * args.width + feature]} *
                   args.targets[target * args.width + feature];
      }
      if (product <= highest) continue;
      highest = product;
      args.nearest[row] = static_cast<int32_t>(target);
    }
    args.products[row] = static_cast<float>(highest);
  }
}

}  // namespace nextscale::kernels::ref
