// SPDX-License-Identifier: Apache-2.0
// Several pictures as one, in rows and columns. Thread safe: no state.
#pragma once

#include <cstdint>
#include <span>

#include "nextscale/image.h"

namespace nextscale {

struct GridOptions {
  int64_t columns = 0;       // 0: near_square_columns()
  int64_t padding = 0;       // pixels between neighbours and around the grid
  uint8_t background = 255;  // grey level of padding and of empty cells
};

// Columns for a grid of `count` pictures: a full rectangle that is at most twice as wide as high if
// there is one (8 gives 4 by 2), else the smallest square that holds them.
int64_t near_square_columns(int64_t count);

// The pictures in reading order. Throws Error(kUsage) if there is none or an option is negative,
// and Error(kMismatch) if sizes differ.
Image compose_grid(std::span<const Image> images, const GridOptions& options = {});

}  // namespace nextscale
