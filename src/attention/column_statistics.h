// SPDX-License-Identifier: Apache-2.0
// What a sample of a head's queries says of each candidate, and the memory that takes: sums,
// variances and entropies over the columns of their attention, as far as the policy needs them.
#pragma once

#include <span>
#include <vector>

#include "attention/candidates.h"
#include "core/arena.h"
#include "core/geometry.h"
#include "policies/policy.h"

namespace nextscale {

// The rows of a scale's queries that are observed, ascending. One object serves all heads.
class ObservedRows {
 public:
  ObservedRows(const Needs& needs, const Geometry& geometry);
  // Allocates nothing.
  void begin_scale(const Grid& map);

  std::span<const int32_t> rows() const { return rows_; }
  // The most of any scale.
  static int64_t most(const Needs& needs, const Geometry& geometry);

 private:
  Needs needs_;
  std::vector<int32_t> rows_;
};

// Sizes that the memory of statistics depends on.
struct ColumnRoom {
  int64_t candidates = 0;  // at most
  int64_t observed = 0;    // at most
  int64_t head_dim = 0;
};

// One value per candidate each, and the workspace of computing them. Spans that nobody needs are
// empty.
struct ColumnStatistics {
  std::span<float> sums;
  std::span<float> variances;
  std::span<float> entropies;
  std::span<std::byte> workspace;

  static ColumnStatistics take(Arena& arena, const kernels::KernelTable& kernels,
                               const Needs& needs, const ColumnRoom& room);
  static size_t bytes(const kernels::KernelTable& kernels, const Needs& needs,
                      const ColumnRoom& room);
};

// The queries of one kv head.
struct ObservedHead {
  const float* q = nullptr;  // [group, queries, head_dim]
  int64_t group = 1;         // query heads of the kv head
  int64_t queries = 0;
  float softmax_scale = 1.0F;
};

// Fills the first candidates.count() elements; means over the query heads of the group.
void observe_columns(const kernels::KernelTable& kernels, const Needs& needs,
                     const ObservedHead& head, std::span<const int32_t> observed,
                     const Candidates& candidates, const ColumnStatistics& out);

}  // namespace nextscale
