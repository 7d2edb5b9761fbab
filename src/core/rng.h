// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: a value is a function of (seed, image, scale, position, draw) and
// of nothing else, so batch size, thread count and order cannot change a picture.
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011).
#pragma once

#include <array>
#include <cstdint>

namespace nextscale {

// One block of the generator: 128 counter bits and 64 key bits to 128 random bits.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Where a random number is used.
struct RandomSite {
  uint64_t seed = 0;
  uint32_t image = 0;     // index of the image in its request
  uint32_t scale = 0;     // generation step
  uint32_t position = 0;  // token of the scale, raster order
};

// Uniform in [0, 1) with 24 random bits; `draw` numbers the values wanted at one site.
float uniform(const RandomSite& site, uint32_t draw);

// Standard Gumbel noise, -ln(-ln(u)).
float gumbel(const RandomSite& site, uint32_t draw);

}  // namespace nextscale
