// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/random_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "apps/random_checkpoint/random_tensors.h"
#include "core/error_format.h"
#include "models/var/var_tensors.h"

namespace nextscale {
namespace {

constexpr int64_t kHeadDim = 64;

std::vector<int64_t> levels_of_tokens(const VarConfig& config) {
  std::vector<int64_t> levels;
  for (size_t scale = 0; scale < config.patch_nums.size(); ++scale) {
    const int64_t side = config.patch_nums[scale];
    levels.insert(levels.end(), static_cast<size_t>(side * side), static_cast<int64_t>(scale));
  }
  return levels;
}

// The scale of every token, int64.
TorchStorage level_storage(const VarConfig& config, size_t index) {
  const std::vector<int64_t> levels = levels_of_tokens(config);
  return {std::to_string(index), levels.size() * sizeof(int64_t),
          [levels](uint64_t offset, std::span<std::byte> out) {
            std::memcpy(out.data(), reinterpret_cast<const std::byte*>(levels.data()) + offset,
                        out.size());
          }};
}

// Training's mask: a token sees its own scale and those before it.
TorchStorage mask_storage(const VarConfig& config, size_t index) {
  const std::vector<int64_t> levels = levels_of_tokens(config);
  const uint64_t length = levels.size();
  return {std::to_string(index), length * length * sizeof(float),
          [levels, length](uint64_t offset, std::span<std::byte> out) {
            uint64_t element = offset / sizeof(float);
            for (float& value :
                 std::span(reinterpret_cast<float*>(out.data()), out.size() / sizeof(float))) {
              const bool sees = levels[element / length] >= levels[element % length];
              value = sees ? 0.0F : -std::numeric_limits<float>::infinity();
              ++element;
            }
          }};
}

void add_transformer_buffers(const VarConfig& config, RandomContents& contents) {
  const int64_t tokens = total_tokens(config);
  contents.tensors.push_back({"lvl_1L", DType::kI64, Shape{1, tokens}});
  contents.storages.push_back(level_storage(config, contents.storages.size()));
  contents.tensors.push_back({"attn_bias_for_masking", DType::kF32, Shape{1, 1, tokens, tokens}});
  contents.storages.push_back(mask_storage(config, contents.storages.size()));
}

std::vector<TensorInfo> zero_biases(const VarConfig& config) {
  std::vector<TensorInfo> tensors;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    tensors.push_back(
        {fmt::format("blocks.{}.attn.zero_k_bias", layer), DType::kF32, Shape{config.width}});
  }
  return tensors;
}

}  // namespace

VarConfig random_var_config(const RandomVarShape& shape) {
  VarConfig config{.layers = shape.depth,
                   .width = shape.width != 0 ? shape.width : kHeadDim * shape.depth,
                   .classes = shape.classes,
                   .vocab = shape.vocab,
                   .latent_channels = shape.latent_channels,
                   .patch_nums = shape.patch_nums,
                   .shared_adaln = shape.shared_adaln,
                   .base_channels = shape.base_channels,
                   .channel_multipliers = {1, 1, 2, 2, 4},
                   .num_res_blocks = 2,
                   .num_phi_convs = 4,
                   .class_names = {}};
  config.heads = shape.heads != 0 ? shape.heads : std::max<int64_t>(1, config.width / kHeadDim);
  config.head_dim = config.width / config.heads;
  config.ffn_width = 4 * config.width;
  const std::string reason = impossible_setting(config);
  if (reason.empty()) return config;
  fail(ErrorCode::kUsage, "random checkpoint: no such model ({}); change the flags", reason);
}

void write_random_transformer(const std::filesystem::path& path, const VarConfig& config,
                              uint64_t seed, Buffers buffers) {
  std::vector<TensorInfo> tensors = var_transformer_tensors(config);
  if (buffers == Buffers::kOfficial) {
    for (TensorInfo& tensor : zero_biases(config)) tensors.push_back(std::move(tensor));
  }
  RandomContents contents = random_contents(std::move(tensors), seed);
  if (buffers == Buffers::kOfficial) add_transformer_buffers(config, contents);
  write_torch(path, std::move(contents));
}

void write_random_vae(const std::filesystem::path& path, const VarConfig& config, uint64_t seed,
                      Buffers buffers) {
  std::vector<TensorInfo> tensors = var_vae_tensors(config);
  if (buffers == Buffers::kOfficial) {
    const auto num_scales = static_cast<int64_t>(config.patch_nums.size());
    tensors.push_back({"quantize.ema_vocab_hit_SV", DType::kF32, Shape{num_scales, config.vocab}});
  }
  write_torch(path, random_contents(std::move(tensors), seed));
}

}  // namespace nextscale
