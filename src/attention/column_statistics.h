// SPDX-License-Identifier: Apache-2.0
// What a sample of a head's queries says of each candidate: sums, variances and entropies over the
// columns of their attention. Plain loops in double precision; allocates nothing.
#pragma once

#include <span>

#include "attention/candidates.h"
#include "core/arena.h"
#include "policies/policy.h"

namespace nextscale {

// The queries of one kv head.
struct ObservedHead {
  const float* q = nullptr;  // [group, queries, head_dim]
  int64_t group = 1;         // query heads of the kv head
  Grid map;                  // tokens of the current scale; queries = map.tokens()
  float softmax_scale = 1.0F;
};

// One value per candidate each, and the workspace of computing them.
struct ColumnStatistics {
  std::span<float> sums;
  std::span<float> variances;
  std::span<float> entropies;
  std::span<double> row;  // workspace: attention of one query
  std::span<double> row_sums;
  std::span<double> row_squares;
  std::span<double> row_entropies;
  std::span<float> key;  // workspace: [head_dim]

  static ColumnStatistics take(Arena& arena, int64_t max_candidates, int64_t head_dim);
  static size_t bytes(int64_t max_candidates, int64_t head_dim);
};

// Fills the first candidates.count() elements; means over the query heads of the group.
void observe_columns(const Needs& needs, const ObservedHead& head, const Candidates& candidates,
                     ColumnStatistics& out);

}  // namespace nextscale
