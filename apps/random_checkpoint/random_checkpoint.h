// SPDX-License-Identifier: Apache-2.0
// Official-format VAR checkpoints with random weights, for demonstrations, tests of real sizes and
// fuzzing. Deterministic in the seed; writes as fast as the disk, whatever the size. The weights
// are scaled so that activations stay finite at any depth; the pictures are noise. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/var/config.h"

namespace nextscale {

// Buffers that the official files carry and the engine does not need.
enum class Buffers { kNone, kOfficial };

struct RandomVarShape {
  int64_t depth = 16;
  int64_t width = 0;  // 0: 64 per layer, as the family has it
  int64_t heads = 0;  // 0: one per 64 of width
  std::vector<int64_t> patch_nums{1, 2, 3, 4, 5, 6, 8, 10, 13, 16};
  bool shared_adaln = false;
  int64_t vocab = 4096;
  int64_t latent_channels = 32;
  int64_t classes = 1000;
  int64_t base_channels = 160;
};

// Throws Error(kUsage) for a shape that no model can have.
VarConfig random_var_config(const RandomVarShape& shape);

void write_random_transformer(const std::filesystem::path& path, const VarConfig& config,
                              uint64_t seed, Buffers buffers);
void write_random_vae(const std::filesystem::path& path, const VarConfig& config, uint64_t seed,
                      Buffers buffers);

}  // namespace nextscale
