// SPDX-License-Identifier: Apache-2.0
// The product of a few rows with one panel of columns, held in registers, and the loop that covers
// many rows with such tiles. Compiled once per instruction set, see vector-inl.h.
//
// Every element is one chain of multiply-adds in the order of depth, whatever the tile it lies in.
#include "kernels/cpu/vector-inl.h"

#if defined(NEXTSCALE_KERNELS_CPU_REGISTER_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NEXTSCALE_KERNELS_CPU_REGISTER_TILES_INL_H_
#undef NEXTSCALE_KERNELS_CPU_REGISTER_TILES_INL_H_
#else
#define NEXTSCALE_KERNELS_CPU_REGISTER_TILES_INL_H_
#endif

#include <type_traits>

#include "kernels/cpu/panels.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

using TileTag = hn::CappedTag<float, kVectorFloats>;
using TileVector = hn::VFromD<TileTag>;

// Columns of a register tile, in vectors: AVX-512 has 32 registers, older sets have 16.
constexpr int kTileVectors = HWY_MAX_BYTES >= 64 ? 4 : 2;

HWY_INLINE float as_f32(float value) { return value; }
HWY_INLINE float as_f32(BFloat16 value) { return to_f32(value); }

// out[kRows, kPanelColumns] = scale * x[kRows, depth] * panel[depth, kPanelColumns], where x and
// out have rows of x_stride and out_stride elements.
template <int kRows, class X>
HWY_INLINE void product_tile(const X* x, int64_t x_stride, const float* panel, int64_t depth,
                             float scale, float* out, int64_t out_stride) {
  const TileTag d;
  for (int64_t column = 0; column < kPanelColumns; column += kTileVectors * lanes(d)) {
    TileVector sums[kRows][kTileVectors];
    for (int row = 0; row < kRows; ++row) {
      for (int part = 0; part < kTileVectors; ++part) sums[row][part] = hn::Zero(d);
    }
    const float* from = panel + column;
    for (int64_t step = 0; step < depth; ++step, from += kPanelColumns) {
      TileVector right[kTileVectors];
      for (int part = 0; part < kTileVectors; ++part) {
        right[part] = hn::Load(d, from + part * lanes(d));
      }
      for (int row = 0; row < kRows; ++row) {
        const TileVector left = hn::Set(d, as_f32(x[row * x_stride + step]));
        for (int part = 0; part < kTileVectors; ++part) {
          sums[row][part] = hn::MulAdd(left, right[part], sums[row][part]);
        }
      }
    }
    for (int row = 0; row < kRows; ++row) {
      for (int part = 0; part < kTileVectors; ++part) {
        hn::Store(hn::Mul(sums[row][part], hn::Set(d, scale)), d,
                  out + row * out_stride + column + part * lanes(d));
      }
    }
  }
}

// Calls tile(rows as a constant, first row) until `rows` rows are done, kTileRows at a time.
template <class Tile>
HWY_INLINE void for_each_tile(int64_t rows, const Tile& tile) {
  int64_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    tile(std::integral_constant<int, kTileRows>(), row);
  }
  switch (rows - row) {
    case 1:
      return tile(std::integral_constant<int, 1>(), row);
    case 2:
      return tile(std::integral_constant<int, 2>(), row);
    case 3:
      return tile(std::integral_constant<int, 3>(), row);
    case 4:
      return tile(std::integral_constant<int, 4>(), row);
    case 5:
      return tile(std::integral_constant<int, 5>(), row);
    default:
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // include guard per instruction set
