// SPDX-License-Identifier: Apache-2.0
// Which queries of a scale are observed.
#pragma once

#include <cstdint>

#include "policies/policy.h"

namespace nextscale {

// How many of `tokens` queries are observed.
int64_t num_observed(const Needs& needs, int64_t tokens);

// Row of the observed query `index` in [0, num_observed).
int64_t observed_query(const Needs& needs, int64_t tokens, int64_t index);

// Row `index` of `count` rows spread evenly over `tokens`, both ends included; the middle one if
// count is 1, every row if count >= tokens. A stride of tokens / count would put all samples of a
// square map in one column (methods.md 2.1).
int64_t uniform_query(int64_t tokens, int64_t count, int64_t index);

}  // namespace nextscale
