// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3)
// (Lavin, Gray: "Fast Algorithms for Convolutional Neural Networks", CVPR 2016). A tile of 4x4
// pixels is made from 6x6 pixels; in between lie 36 matrix products over channels.
//
// Every tile is computed by itself in a fixed order, so results depend neither on threads nor on
// strips that begin at multiples of kConvRowAlignment rows. Rounding errors are those of f32 sums,
// a few times larger than of the direct form. Weights take four times their plain size.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

// Outputs of a tile in each direction, and inputs.
inline constexpr int64_t kTileOut = kConvRowAlignment;
inline constexpr int64_t kTileIn = kTileOut + 2;
inline constexpr int64_t kTilePositions = kTileIn * kTileIn;

// The paper's 1 and 2 let rounding errors grow three times as far: these balance the
// transformations (smallest error of the multiples of 1/8 tried), and their products are exact in
// f32.
inline constexpr double kNear = 5.0 / 8;
inline constexpr double kFar = 3.0 / 2;

// True where this form is faster and worth its memory.
bool suits_winograd(const ConvSpec& spec);

std::unique_ptr<Conv> make_winograd(const Context& context, const ConvSpec& spec,
                                    const ConstTensorView& weight, const ConstTensorView& bias);

// What such a convolution takes; its scratch does not depend on the strip.
ConvBytes winograd_bytes(const Context& context, const ConvSpec& spec);

// One job: consecutive tiles, in raster order, of a strip.
struct WinogradJob {
  const ConvSpec* spec = nullptr;
  const float* weight = nullptr;  // [panels, kTilePositions, in_channels, kPanelColumns]
  const float* bias = nullptr;    // [out_channels]
  const float* x = nullptr;       // [rows + 2, width, in_channels]
  float* y = nullptr;             // [rows, width, out_channels]
  int64_t rows = 0;
  int64_t first_tile = 0;
  int64_t num_tiles = 0;
  float* transformed = nullptr;  // [kTilePositions, num_tiles, in_channels]
  float* products = nullptr;     // [kTilePositions, num_tiles, kPanelColumns]
  const float* zeros = nullptr;  // [in_channels]
};

}  // namespace nextscale::kernels::cpu
