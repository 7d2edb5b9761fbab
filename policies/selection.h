// SPDX-License-Identifier: Apache-2.0
// What selections are made of: top tokens with their tie rule, 1-D pooling, runs of positions.
// Nothing here allocates.
#pragma once

#include <cstdint>
#include <span>

#include "policies/policy.h"

namespace nextscale {

enum class Pool { kAverage, kMax };

// Positions of the n largest scores, ascending, into the first n elements of `out`. Equal scores:
// the lower position first (methods.md 1.3; max pooling makes ties common). `order` is workspace
// of the size of `score`; 0 <= n <= score.size(); no score is NaN.
void top(std::span<const float> score, int64_t n, std::span<int32_t> order, std::span<int32_t> out);

// Pooling with stride 1 and kernel / 2 padding on both sides: -infinity for max; zeros for average,
// which always divides by the kernel. `kernel` is odd; `out` is not x.
void pool1d(std::span<const float> x, int64_t kernel, Pool pool, std::span<float> out);

// Coupled methods: the selection that was attended becomes the cache, except at the last step.
void keep_attended(const HeadStatistics& statistics, Selection& selection);

}  // namespace nextscale
