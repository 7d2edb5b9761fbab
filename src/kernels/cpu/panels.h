// SPDX-License-Identifier: Apache-2.0
// The shape in which our own products want their right-hand matrix [depth, columns]: panels of 64
// columns, [columns / 64][depth][64], padded with zeros. Independent of instruction set and
// threads.
#pragma once

#include <cstdint>

namespace nextscale::kernels::cpu {

inline constexpr int64_t kPanelColumns = 64;
// Rows of the largest register tile: 6 rows of 4 vectors fill 24 of AVX-512's 32 registers.
inline constexpr int64_t kTileRows = 6;
// The longest vector of any instruction set, in floats: what is padded to this is read whole.
inline constexpr int64_t kVectorFloats = 16;

inline int64_t num_panels(int64_t columns) { return (columns + kPanelColumns - 1) / kPanelColumns; }

}  // namespace nextscale::kernels::cpu
