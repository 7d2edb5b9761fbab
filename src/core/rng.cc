// SPDX-License-Identifier: Apache-2.0
#include "core/rng.h"

#include <cmath>

namespace nextscale {
namespace {

// Multipliers and key increments of Philox4x32.
constexpr uint64_t kMultiplier0 = 0xD2511F53;
constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

uint32_t random_bits(const RandomSite& site, uint32_t draw) {
  // Four draws come from one block.
  const auto block =
      philox4x32({site.position, site.scale, site.image, draw / 4},
                 {static_cast<uint32_t>(site.seed), static_cast<uint32_t>(site.seed >> 32)});
  return block[draw % 4];
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

float uniform(const RandomSite& site, uint32_t draw) {
  return static_cast<float>(random_bits(site, draw) >> 8) * 0x1p-24F;
}

float gumbel(const RandomSite& site, uint32_t draw) {
  // Centre of the 2^-24 cell: never 0 or 1, so both logarithms are finite.
  const double cell = (static_cast<double>(random_bits(site, draw) >> 8) + 0.5) * 0x1p-24;
  return static_cast<float>(-std::log(-std::log(cell)));
}

}  // namespace nextscale
