// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most: the hard ceilings that everything else is measured against.
#pragma once

#include <cstdint>

namespace nextscale {

// Multiplications and additions, each counting as one operation, per second.
struct PeakRates {
  double f32 = 0;   // fused multiply-adds of the widest vectors
  double bf16 = 0;  // dot products of bf16 pairs, summed in f32; 0 where there are none
  double i8 = 0;    // dot products of groups of four u8 and i8; 0 where there are none
};

// Runs chains of independent instructions on registers, about `seconds` per kind, on so many
// threads at once.
PeakRates measure_peak_rates(int threads, double seconds);

// Bytes per second of reading a block much larger than the caches, on so many threads at once.
double measure_read_bandwidth(int threads, double seconds);

}  // namespace nextscale
