// SPDX-License-Identifier: Apache-2.0
// The shape of a next-scale model as the cache and the policies see it. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nextscale {

// Token map of one scale.
struct Grid {
  int64_t height = 0;
  int64_t width = 0;

  int64_t tokens() const { return height * width; }
  bool operator==(const Grid&) const = default;
};

struct Geometry {
  int64_t layers = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  std::vector<Grid> scales;  // K of them; step k generates scale k

  int num_scales() const { return static_cast<int>(scales.size()); }
  // N_k: tokens of scale k.
  int64_t tokens(int scale) const { return scales[static_cast<size_t>(scale)].tokens(); }
  // T_k: tokens of scales 0..k; 0 for k = -1.
  int64_t tokens_through(int scale) const {
    int64_t sum = 0;
    for (int each = 0; each <= scale; ++each) sum += tokens(each);
    return sum;
  }
};

}  // namespace nextscale
