// SPDX-License-Identifier: Apache-2.0
#include "weights/tensor_size.h"

#include <algorithm>

namespace nextscale {

std::optional<int64_t> checked_num_elements(std::span<const int64_t> extents) {
  int64_t count = 1;
  bool is_empty = false;
  for (int64_t extent : extents) {
    if (extent < 0 || extent > kMaxTensorElements / count) return std::nullopt;
    is_empty = is_empty || extent == 0;
    count *= std::max<int64_t>(extent, 1);
  }
  return is_empty ? 0 : count;
}

}  // namespace nextscale
