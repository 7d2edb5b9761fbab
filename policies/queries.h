// SPDX-License-Identifier: Apache-2.0
// Which queries of a scale are observed.
#pragma once

#include <cstdint>

#include "policies/policy.h"

namespace nextscale {

// How many queries of a scale with this token map are observed.
int64_t num_observed(const Needs& needs, const Grid& map);

// Row of the observed query `index` in [0, num_observed).
int64_t observed_query(const Needs& needs, const Grid& map, int64_t index);

// Side of the largest square grid of patches with at most `count` of them, if the map is square and
// has room for it; else 0.
int64_t patch_grid_side(const Grid& map, int64_t count);

// Row of the token in the middle of patch `index` of a side x side grid of patches; side > 0
// (methods.md 12.3).
int64_t grid_query(const Grid& map, int64_t side, int64_t index);

// Row `index` of `count` rows spread evenly over `tokens`, both ends included; the middle one if
// count is 1, every row if count >= tokens. A stride of tokens / count would put all samples of a
// square map in one column (methods.md 2.1).
int64_t uniform_query(int64_t tokens, int64_t count, int64_t index);

}  // namespace nextscale
