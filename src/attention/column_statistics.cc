// SPDX-License-Identifier: Apache-2.0
#include "attention/column_statistics.h"

#include <algorithm>

#include "policies/queries.h"

namespace nextscale {

int64_t ObservedRows::most(const Needs& needs, const Geometry& geometry) {
  int64_t most = 0;
  for (const Grid& map : geometry.scales) most = std::max(most, num_observed(needs, map));
  return most;
}

ObservedRows::ObservedRows(const Needs& needs, const Geometry& geometry) : needs_(needs) {
  rows_.reserve(static_cast<size_t>(most(needs, geometry)));
}

void ObservedRows::begin_scale(const Grid& map) {
  rows_.clear();
  for (int64_t index = 0; index < num_observed(needs_, map); ++index) {
    rows_.push_back(static_cast<int32_t>(observed_query(needs_, map, index)));
  }
}

ColumnStatistics ColumnStatistics::take(Arena& arena, const kernels::KernelTable& kernels,
                                        const Needs& needs, const ColumnRoom& room) {
  const auto count = static_cast<size_t>(room.candidates);
  ColumnStatistics result;
  result.sums = arena.take<float>(count);
  if (needs.column_variances) result.variances = arena.take<float>(count);
  if (needs.column_entropies) result.entropies = arena.take<float>(count);
  result.workspace = arena.take<std::byte>(
      kernels.column_statistics_workspace(room.candidates, room.observed, room.head_dim));
  return result;
}

size_t ColumnStatistics::bytes(const kernels::KernelTable& kernels, const Needs& needs,
                               const ColumnRoom& room) {
  const size_t values = Arena::rounded(static_cast<size_t>(room.candidates) * sizeof(float));
  const size_t columns = 1 + (needs.column_variances ? 1 : 0) + (needs.column_entropies ? 1 : 0);
  return columns * values + Arena::rounded(kernels.column_statistics_workspace(
                                room.candidates, room.observed, room.head_dim));
}

void observe_columns(const kernels::KernelTable& kernels, const Needs& needs,
                     const ObservedHead& head, std::span<const int32_t> observed,
                     const Candidates& candidates, const ColumnStatistics& out) {
  kernels.column_statistics({.q = head.q,
                             .group = head.group,
                             .queries = head.queries,
                             .observed = observed,
                             .head_dim = candidates.head_dim,
                             .softmax_scale = head.softmax_scale,
                             .softmax = needs.observed == ObservedValues::kAttention,
                             .cached = candidates.cached,
                             .current = candidates.current,
                             .sums = out.sums.data(),
                             .variances = out.variances.data(),
                             .entropies = out.entropies.data(),
                             .workspace = out.workspace});
}

}  // namespace nextscale
