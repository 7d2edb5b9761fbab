// SPDX-License-Identifier: Apache-2.0
// Settings that may differ from scale to scale. Pure function.
#pragma once

#include <string_view>
#include <vector>

namespace nextscale {

// One value for each of `num_scales` scales: the only one repeated, or the first of a list that is
// long enough. Throws Error(kUsage) naming `flag` otherwise.
std::vector<float> per_scale(std::string_view flag, const std::vector<float>& values,
                             int num_scales);

}  // namespace nextscale
