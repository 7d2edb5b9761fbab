// SPDX-License-Identifier: Apache-2.0
#include "support/small_infinity.h"

#include "apps/random_checkpoint/random_t5.h"

namespace nextscale {

RandomInfinityShape small_infinity_shape() {
  return {.layers = 2,
          .chunks = 2,
          .heads = 2,
          .head_dim = 16,
          .pool_heads = 2,
          .text_channels = 24,
          .text_tokens = 64,
          .latent_channels = 3,
          .patchify = true,
          .base_channels = 32,
          .multipliers = {1, 2},
          .num_res_blocks = 1};
}

T5Config small_t5_config() {
  return {.layers = 1,
          .width = small_infinity_shape().text_channels,
          .heads = 3,
          .head_dim = 8,
          .ffn_width = 40,
          .vocab = 300,
          .buckets = 32,
          .max_distance = 128};
}

InfinityFiles write_small_infinity(const std::filesystem::path& folder) {
  constexpr uint64_t kSeed = 17;
  const InfinityConfig config = random_infinity_config(small_infinity_shape());
  const InfinityFiles files{.transformer = folder / "infinity.pth",
                            .vae = folder / "infinity_vae.pth",
                            .text_encoder = folder / "t5"};
  write_random_infinity(files.transformer, config, kSeed, 1);
  write_random_infinity_vae(files.vae, config, kSeed + 1);
  write_random_t5(files.text_encoder, small_t5_config(), kSeed + 2, 1);
  return files;
}

}  // namespace nextscale
