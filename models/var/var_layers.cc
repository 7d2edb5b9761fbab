// SPDX-License-Identifier: Apache-2.0
#include "models/var/var_layers.h"

#include <algorithm>
#include <cmath>

#include "core/error_format.h"

namespace nextscale {
namespace {

// Largest attention temperature: the per-head scale is exp(min(stored value, ln 100)).
constexpr float kLogMaxHeadScale = 4.605170249938965F;
// Softmax factor of models without q/k normalisation: 0.25 / sqrt(head_dim).
constexpr double kUnnormalizedFactor = 0.25;

kernels::LinearSpec product(int64_t in, int64_t out, DType compute) {
  return {.in_features = in, .out_features = out, .compute = compute};
}

// Biases of the fused projection: q_bias, none for keys, v_bias.
std::vector<float> qkv_bias(const VarConfig& config, const std::string& name,
                            const WeightLoader& loader) {
  std::vector<float> bias = loader.read(name + ".q_bias", Shape{config.width});
  const std::vector<float> v_bias = loader.read(name + ".v_bias", Shape{config.width});
  bias.resize(static_cast<size_t>(2 * config.width), 0.0F);
  bias.insert(bias.end(), v_bias.begin(), v_bias.end());
  return bias;
}

std::vector<float> head_scale(const VarConfig& config, const std::string& name,
                              WeightLoader& loader) {
  if (!config.qk_l2_norm) return {};
  std::vector<float> scale = loader.values(name + ".scale_mul_1H11", Shape{1, config.heads, 1, 1});
  for (float& value : scale) value = std::exp(std::min(value, kLogMaxHeadScale));
  return scale;
}

TransformerBlock load_block(const VarConfig& config, DType compute, int64_t layer,
                            WeightLoader& loader) {
  const std::string attn = fmt::format("blocks.{}.attn", layer);
  const std::string ffn = fmt::format("blocks.{}.ffn", layer);
  kernels::LinearSpec fc1 = product(config.width, config.ffn_width, compute);
  fc1.output = kernels::activation_type(compute);
  fc1.activation = kernels::Activation::kGeluTanh;
  BlockWeights weights{
      .qkv =
          loader.linear(attn + ".mat_qkv.weight", product(config.width, 3 * config.width, compute),
                        qkv_bias(config, attn, loader)),
      .proj = loader.linear(attn + ".proj", product(config.width, config.width, compute)),
      .fc1 = loader.linear(ffn + ".fc1", fc1),
      .fc2 = loader.linear(ffn + ".fc2", product(config.ffn_width, config.width, compute)),
      .head_scale = head_scale(config, attn, loader)};
  return {var_block_shape(config, compute), std::move(weights)};
}

// Absolute position plus the embedding of the token's scale, for every token.
std::vector<float> load_positions(const VarConfig& config, WeightLoader& loader) {
  int64_t total = 0;
  for (const int64_t side : config.patch_nums) total += side * side;
  const auto num_scales = static_cast<int64_t>(config.patch_nums.size());
  std::vector<float> positions = loader.values("pos_1LC", Shape{1, total, config.width});
  const std::vector<float> levels =
      loader.read("lvl_embed.weight", Shape{num_scales, config.width});
  float* position = positions.data();
  for (int64_t scale = 0; scale < num_scales; ++scale) {
    const int64_t side = config.patch_nums[static_cast<size_t>(scale)];
    for (int64_t token = 0; token < side * side; ++token) {
      for (int64_t feature = 0; feature < config.width; ++feature) {
        *position++ += levels[static_cast<size_t>(scale * config.width + feature)];
      }
    }
  }
  return positions;
}

}  // namespace

BlockShape var_block_shape(const VarConfig& config, DType compute) {
  return {.width = config.width,
          .query_heads = config.heads,
          .kv_heads = config.heads,
          .head_dim = config.head_dim,
          .ffn_width = config.ffn_width,
          .norm_epsilon = config.norm_epsilon,
          .normalize_qk = config.qk_l2_norm,
          .compute = compute};
}

AdaptiveNormShape var_norm_shape(const VarConfig& config, DType compute) {
  return {.width = config.width,
          .layers = config.layers,
          .is_shared = config.shared_adaln,
          .compute = compute};
}

HeadShape var_head_shape(const VarConfig& config, DType compute) {
  return {.width = config.width,
          .logits = config.vocab,
          .norm_epsilon = config.norm_epsilon,
          .modulation_compute = compute,
          .compute = compute};
}

float var_softmax_scale(const VarConfig& config) {
  if (config.qk_l2_norm) return 1.0F;
  return static_cast<float>(kUnnormalizedFactor / std::sqrt(static_cast<double>(config.head_dim)));
}

DecoderShape var_decoder_shape(const VarConfig& config, size_t strip_bytes) {
  const int64_t side = config.patch_nums.back();
  return {.kind = DecoderKind::kVqgan,
          .latent = {side, side},
          .latent_channels = config.latent_channels,
          .base_channels = config.base_channels,
          .multipliers = config.channel_multipliers,
          .blocks_per_level = config.num_res_blocks + 1,
          .strip_bytes = strip_bytes};
}

QuantizerShape var_quantizer_shape(const VarConfig& config) {
  return {.sides = config.patch_nums,
          .vocabulary = config.vocab,
          .channels = config.latent_channels,
          .num_convs = static_cast<int>(config.num_phi_convs)};
}

VarLayers::VarLayers(const Context& context, const VarConfig& var_config, const RunTypes& run_types,
                     const std::filesystem::path& folder)
    : config(var_config), types(run_types) {
  WeightLoader loader(context, folder, "model.safetensors");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks.push_back(load_block(config, types.compute, layer, loader));
    throw_if_cancelled(context);
  }
  modulations = std::make_unique<BlockModulations>(
      var_norm_shape(config, types.compute),
      [](int64_t layer) { return fmt::format("blocks.{}.", layer); }, loader);
  head = std::make_unique<ModulatedHead>(var_head_shape(config, types.compute), loader);
  // Small, and the only way from latents to tokens: kept in f32.
  word_embed =
      loader.linear("word_embed", product(config.latent_channels, config.width, DType::kF32));
  class_vectors = loader.values("class_emb.weight", Shape{config.classes + 1, config.width});
  const int64_t first_tokens = config.patch_nums.front() * config.patch_nums.front();
  start_positions = loader.values("pos_start", Shape{1, first_tokens, config.width});
  positions = load_positions(config, loader);

  WeightLoader vae_loader(context, folder, "vae.safetensors");
  quantizer = std::make_unique<VqQuantizer>(var_quantizer_shape(config), vae_loader);
  decoder = std::make_unique<VaeDecoder>(var_decoder_shape(config, types.strip_bytes), vae_loader);
  loaded_bytes = loader.loaded_bytes() + vae_loader.loaded_bytes();
}

}  // namespace nextscale
