// SPDX-License-Identifier: Apache-2.0
// One figure of several runs.
#pragma once

#include <algorithm>
#include <vector>

namespace nextscale {

struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

inline Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  return {.median = values[values.size() / 2], .least = values.front(), .most = values.back()};
}

}  // namespace nextscale
