// SPDX-License-Identifier: Apache-2.0
#include "policies/queries.h"

#include <algorithm>
#include <cmath>

namespace nextscale {

int64_t num_observed(const Needs& needs, const Grid& map) {
  switch (needs.queries) {
    case ObservedQueries::kNone:
      return 0;
    case ObservedQueries::kAll:
      return map.tokens();
    case ObservedQueries::kGrid:
      if (const int64_t side = patch_grid_side(map, needs.num_queries); side > 0) {
        return side * side;
      }
      break;
    case ObservedQueries::kUniform:
    case ObservedQueries::kFirst:
    case ObservedQueries::kLast:
      break;
  }
  return std::min(needs.num_queries, map.tokens());
}

int64_t observed_query(const Needs& needs, const Grid& map, int64_t index) {
  const int64_t count = num_observed(needs, map);
  switch (needs.queries) {
    case ObservedQueries::kNone:
    case ObservedQueries::kAll:
    case ObservedQueries::kFirst:
      return index;
    case ObservedQueries::kUniform:
      return uniform_query(map.tokens(), count, index);
    case ObservedQueries::kGrid:
      if (const int64_t side = patch_grid_side(map, needs.num_queries); side > 0) {
        return grid_query(map, side, index);
      }
      break;
    case ObservedQueries::kLast:
      break;
  }
  return map.tokens() - count + index;
}

int64_t patch_grid_side(const Grid& map, int64_t count) {
  const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(count)));
  return map.height == map.width && map.height >= side ? side : 0;
}

int64_t grid_query(const Grid& map, int64_t side, int64_t index) {
  const int64_t patch = map.height / side;
  const int64_t middle = (patch - 1) / 2;
  return (index / side * patch + middle) * map.width + index % side * patch + middle;
}

int64_t uniform_query(int64_t tokens, int64_t count, int64_t index) {
  if (count >= tokens) return index;
  if (count == 1) return (tokens - 1) / 2;
  return index * (tokens - 1) / (count - 1);
}

}  // namespace nextscale
