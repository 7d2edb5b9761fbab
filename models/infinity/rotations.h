// SPDX-License-Identifier: Apache-2.0
// The two-dimensional rotary embedding of Infinity as the tables that blocks read
// (specs/infinity.md section 8). Thread safe: const after construction.
#pragma once

#include <cstdint>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

class RotaryTable {
 public:
  // For positions 0 … `most`.
  RotaryTable(int64_t head_dim, int64_t most);

  // Fills the tables of a scale's tokens, [tokens, head_dim] each, as kernels::SplitHeadsArgs reads
  // them. `aspect` is that of the picture (picture_size.h).
  void fill(double aspect, const Grid& scale, float* cosines, float* sines) const;

 private:
  int64_t head_dim_;
  // Of every position the angles of a quarter of the head's channels: [positions, head_dim / 4].
  std::vector<float> cosines_;
  std::vector<float> sines_;
};

}  // namespace nextscale
