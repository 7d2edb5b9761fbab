// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "policies/policy.h"

namespace nextscale {

int64_t Schedule::held(int step, int64_t layer) const {
  int64_t tokens = 0;
  for (int64_t each = 0; each < layers_; ++each) {
    const int last = each <= layer ? step : step - 1;
    for (int64_t head = 0; head < heads_ && last >= 0; ++head) tokens += cached(last, each, head);
  }
  return std::min(tokens, held_limits_[static_cast<size_t>(step * layers_ + layer)]);
}

int64_t Schedule::most_held() const {
  const auto checkpoints = static_cast<int64_t>(held_limits_.size());
  int64_t most = 0;
  for (int64_t checkpoint = 0; checkpoint < checkpoints; ++checkpoint) {
    most = std::max(most, held(static_cast<int>(checkpoint / layers_), checkpoint % layers_));
  }
  return most;
}

}  // namespace nextscale
