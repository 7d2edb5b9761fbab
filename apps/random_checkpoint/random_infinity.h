// SPDX-License-Identifier: Apache-2.0
// Official-format Infinity checkpoints with random weights; as random_checkpoint.h for VAR.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/infinity/config.h"

namespace nextscale {

struct RandomInfinityShape {
  int64_t layers = 32;
  int64_t chunks = 8;
  int64_t heads = 16;
  int64_t head_dim = 128;
  int64_t pool_heads = 16;
  int64_t text_channels = 2048;
  int64_t text_tokens = 512;
  int64_t latent_channels = 32;
  bool patchify = false;
  int64_t base_channels = 128;
  std::vector<int64_t> multipliers{1, 2, 4, 4, 4};
  int64_t num_res_blocks = 2;
};

// Throws Error(kUsage) for a shape that no model can have.
InfinityConfig random_infinity_config(const RandomInfinityShape& shape);

// With one shard a torch file, otherwise a folder of safetensors.
void write_random_infinity(const std::filesystem::path& path, const InfinityConfig& config,
                           uint64_t seed, int num_shards);
void write_random_infinity_vae(const std::filesystem::path& path, const InfinityConfig& config,
                               uint64_t seed);

}  // namespace nextscale
