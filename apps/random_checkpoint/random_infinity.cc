// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/random_infinity.h"

#include <utility>

#include "apps/random_checkpoint/random_tensors.h"
#include "core/error_format.h"
#include "models/infinity/infinity_tensors.h"
#include "models/infinity/published.h"

namespace nextscale {
namespace {

constexpr int64_t kLevelRows = 15;

// The buffers that the official files carry and the engine does not need.
std::vector<TensorInfo> zero_biases(const InfinityConfig& config) {
  const Shape shape{config.width};
  std::vector<TensorInfo> tensors{{"text_proj_for_sos.ca.zero_k_bias", DType::kF32, shape}};
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (const char* part : {"sa.zero_k_bias", "ca.zero_k_bias"}) {
      tensors.push_back({infinity_block_name(config, layer) + part, DType::kF32, shape});
    }
  }
  return tensors;
}

}  // namespace

InfinityConfig random_infinity_config(const RandomInfinityShape& shape) {
  InfinityConfig config;
  config.layers = shape.layers;
  config.chunks = shape.chunks;
  config.heads = shape.heads;
  config.head_dim = shape.head_dim;
  config.width = shape.heads * shape.head_dim;
  config.ffn_width = infinity_ffn_width(config.width);
  config.pool_heads = shape.pool_heads;
  config.text_channels = shape.text_channels;
  config.text_tokens = shape.text_tokens;
  config.max_scales = kLevelRows;
  config.latent_channels = shape.latent_channels;
  config.patchify = shape.patchify;
  config.base_channels = shape.base_channels;
  config.channel_multipliers = shape.multipliers;
  config.num_res_blocks = shape.num_res_blocks;
  config.default_size = "1M";
  config.default_cfg = {3.0F};
  config.default_tau = {1.0F};
  const std::string reason = impossible_setting(config);
  if (reason.empty()) return config;
  fail(ErrorCode::kUsage, "random checkpoint: no such model ({}); change the flags", reason);
}

void write_random_infinity(const std::filesystem::path& path, const InfinityConfig& config,
                           uint64_t seed, int num_shards) {
  std::vector<TensorInfo> tensors = infinity_transformer_tensors(config);
  for (TensorInfo& tensor : zero_biases(config)) tensors.push_back(std::move(tensor));
  RandomContents contents = random_contents(std::move(tensors), seed);
  if (num_shards > 1) {
    write_shards(path, contents, num_shards);
  } else {
    write_torch(path, std::move(contents));
  }
}

void write_random_infinity_vae(const std::filesystem::path& path, const InfinityConfig& config,
                               uint64_t seed) {
  std::vector<TensorInfo> tensors = infinity_vae_tensors(config);
  for (TensorInfo& tensor : tensors) tensor.name = wrapped_vae_name(tensor.name);
  write_torch(path, random_contents(std::move(tensors), seed));
}

}  // namespace nextscale
