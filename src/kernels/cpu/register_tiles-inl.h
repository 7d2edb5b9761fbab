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

// Whether this instruction set can go along with that for products of bf16 values, which the
// processor may have or not: has_fast_bf16().
#undef NEXTSCALE_HAS_BF16_TILES
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
#define NEXTSCALE_HAS_BF16_TILES 1
#else
#define NEXTSCALE_HAS_BF16_TILES 0
#endif

// Columns of a register tile, in vectors: AVX-512 has 32 registers, older sets have 16.
constexpr int kTileVectors = HWY_MAX_BYTES >= 64 ? 4 : 2;

HWY_INLINE float as_f32(float value) { return value; }
HWY_INLINE float as_f32(BFloat16 value) { return to_f32(value); }

// What one step along the depth does. Inputs come in units of four bytes: an f32, or two bf16
// values that follow one another along the depth. Both run through the same loops.
struct F32Step {
  static HWY_INLINE TileVector add(TileVector left, TileVector right, TileVector sum) {
    return hn::MulAdd(left, right, sum);
  }
};

#if NEXTSCALE_HAS_BF16_TILES
// Written out: Highway 1.0 has no such instruction, and compilers' functions for it can only be
// called where the whole caller is compiled for it.
struct BF16PairStep {
  static HWY_INLINE TileVector add(TileVector left, TileVector right, TileVector sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(left.raw), "v"(right.raw));
    return sum;
  }
};
#endif

// out[kRows, kVectors vectors] = scale * x[kRows, depth] * right[depth, kVectors vectors], where x,
// right and out have rows of x_stride, kPanelColumns and out_stride elements.
template <int kRows, int kVectors, class Step = F32Step, class X>
HWY_INLINE void multiply_vectors(const X* x, int64_t x_stride, const float* right, int64_t depth,
                                 float scale, float* out, int64_t out_stride) {
  const TileTag d;
  TileVector sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int part = 0; part < kVectors; ++part) sums[row][part] = hn::Zero(d);
  }
  for (int64_t step = 0; step < depth; ++step, right += kPanelColumns) {
    TileVector loaded[kVectors];
    for (int part = 0; part < kVectors; ++part) {
      loaded[part] = hn::Load(d, right + part * lanes(d));
    }
    for (int row = 0; row < kRows; ++row) {
      const TileVector left = hn::Set(d, as_f32(x[row * x_stride + step]));
      for (int part = 0; part < kVectors; ++part) {
        sums[row][part] = Step::add(left, loaded[part], sums[row][part]);
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int part = 0; part < kVectors; ++part) {
      hn::Store(hn::Mul(sums[row][part], hn::Set(d, scale)), d,
                out + row * out_stride + part * lanes(d));
    }
  }
}

// The same for the first `columns` columns of a panel, a multiple of kVectorFloats.
template <int kRows, class Step = F32Step, class X>
HWY_INLINE void product_tile(const X* x, int64_t x_stride, const float* panel, int64_t depth,
                             int64_t columns, float scale, float* out, int64_t out_stride) {
  constexpr int kHalf = kTileVectors / 2;
  const int64_t width = lanes(TileTag());
  int64_t column = 0;
  for (; column + kTileVectors * width <= columns; column += kTileVectors * width) {
    multiply_vectors<kRows, kTileVectors, Step>(x, x_stride, panel + column, depth, scale,
                                                out + column, out_stride);
  }
  if constexpr (kTileVectors > 2) {  // two vectors or fewer divide kVectorFloats
    for (; column + kHalf * width <= columns; column += kHalf * width) {
      multiply_vectors<kRows, kHalf, Step>(x, x_stride, panel + column, depth, scale, out + column,
                                           out_stride);
    }
    for (; column < columns; column += width) {
      multiply_vectors<kRows, 1, Step>(x, x_stride, panel + column, depth, scale, out + column,
                                       out_stride);
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
