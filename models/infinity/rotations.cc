// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/rotations.h"

#include <cmath>

#include "models/infinity/picture_size.h"

namespace nextscale {
namespace {

constexpr double kBase = 10000.0;

}  // namespace

RotaryTable::RotaryTable(int64_t head_dim, int64_t most) : head_dim_(head_dim) {
  const int64_t pairs = head_dim / 4;  // of one coordinate
  for (int64_t position = 0; position <= most; ++position) {
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const double exponent = 4.0 * static_cast<double>(pair) / static_cast<double>(head_dim);
      const auto frequency = static_cast<float>(std::pow(kBase, -exponent));
      // The official code rounds the angle to f32.
      const float angle = static_cast<float>(position) * frequency;
      cosines_.push_back(std::cos(angle));
      sines_.push_back(std::sin(angle));
    }
  }
}

// Neighbouring channels (2 j, 2 j + 1) turn by one angle: the first half of the pairs by the row,
// the second half by the column.
void RotaryTable::fill(double aspect, const Grid& scale, float* cosines, float* sines) const {
  const RopeCoordinates coordinates = rope_coordinates(aspect, scale);
  const int64_t pairs = head_dim_ / 4;
  const auto turn = [&](int64_t position) {
    for (int64_t pair = position * pairs; pair < (position + 1) * pairs; ++pair) {
      const auto at = static_cast<size_t>(pair);
      *cosines++ = cosines_[at];
      *cosines++ = cosines_[at];
      *sines++ = -sines_[at];
      *sines++ = sines_[at];
    }
  };
  for (const int64_t row : coordinates.rows) {
    for (const int64_t column : coordinates.columns) {
      turn(row);
      turn(column);
    }
  }
}

}  // namespace nextscale
