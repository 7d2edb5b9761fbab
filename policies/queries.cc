// SPDX-License-Identifier: Apache-2.0
#include "policies/queries.h"

#include <algorithm>

namespace nextscale {

int64_t num_observed(const Needs& needs, int64_t tokens) {
  switch (needs.queries) {
    case ObservedQueries::kNone:
      return 0;
    case ObservedQueries::kAll:
      return tokens;
    case ObservedQueries::kUniform:
    case ObservedQueries::kLast:
      break;
  }
  return std::min(needs.num_queries, tokens);
}

int64_t observed_query(const Needs& needs, int64_t tokens, int64_t index) {
  if (needs.queries == ObservedQueries::kAll) return index;
  const int64_t count = num_observed(needs, tokens);
  if (needs.queries == ObservedQueries::kLast) return tokens - count + index;
  return uniform_query(tokens, count, index);
}

int64_t uniform_query(int64_t tokens, int64_t count, int64_t index) {
  if (count >= tokens) return index;
  if (count == 1) return (tokens - 1) / 2;
  return index * (tokens - 1) / (count - 1);
}

}  // namespace nextscale
