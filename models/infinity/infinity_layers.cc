// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/infinity_layers.h"

#include <algorithm>
#include <cmath>

#include "core/error_format.h"
#include "models/infinity/infinity_tensors.h"
#include "models/infinity/schedules.h"

namespace nextscale {
namespace {

// Largest attention temperature: the per-head scale is exp(min(stored value, ln 100)).
constexpr float kLogMaxHeadScale = 4.605170249938965F;
constexpr int64_t kLogitsPerBit = 2;

kernels::LinearSpec product(int64_t in, int64_t out, DType compute) {
  return {.in_features = in, .out_features = out, .compute = compute};
}

// Biases of a fused projection to queries (if it has them), keys and values; keys have none.
std::vector<float> fused_bias(const std::vector<std::string>& names, int64_t width,
                              const WeightLoader& loader) {
  std::vector<float> bias;
  for (const std::string& name : names) {
    const std::vector<float> part = name.empty()
                                        ? std::vector<float>(static_cast<size_t>(width), 0.0F)
                                        : loader.read(name, Shape{width});
    bias.insert(bias.end(), part.begin(), part.end());
  }
  return bias;
}

std::vector<float> head_scale(const InfinityConfig& config, const std::string& name,
                              WeightLoader& loader) {
  std::vector<float> scale = loader.values(name, Shape{1, config.heads, 1, 1});
  for (float& value : scale) value = std::exp(std::min(value, kLogMaxHeadScale));
  return scale;
}

// A norm's weight as adaptive norms read it, less 1.
std::vector<float> norm_scale(const InfinityConfig& config, const std::string& name,
                              WeightLoader& loader) {
  std::vector<float> scale = loader.values(name, Shape{config.width});
  for (float& value : scale) value -= 1.0F;
  return scale;
}

TransformerBlock load_block(const InfinityConfig& config, DType compute, int64_t layer,
                            WeightLoader& loader) {
  const std::string block = infinity_block_name(config, layer);
  const int64_t width = config.width;
  const BlockShape shape = infinity_block_shape(config, compute);
  kernels::LinearSpec fc1 = product(width, config.ffn_width, compute);
  fc1.output = shape.activation();
  fc1.activation = kernels::Activation::kGeluTanh;
  const kernels::LinearSpec square = product(width, width, compute);
  BlockWeights weights{
      .qkv =
          loader.linear(block + "sa.mat_qkv.weight", product(width, shape.qkv_features(), compute),
                        fused_bias({block + "sa.q_bias", "", block + "sa.v_bias"}, width, loader)),
      .proj = loader.linear(block + "sa.proj", square),
      .fc1 = loader.linear(block + "ffn.fc1", fc1),
      .fc2 = loader.linear(block + "ffn.fc2", product(config.ffn_width, width, compute)),
      .head_scale = head_scale(config, block + "sa.scale_mul_1H11", loader),
      .context_q = loader.linear(block + "ca.mat_q", square),
      .context_kv = loader.linear(block + "ca.mat_kv.weight", product(width, 2 * width, compute),
                                  fused_bias({"", block + "ca.v_bias"}, width, loader)),
      .context_proj = loader.linear(block + "ca.proj", square),
      .context_norm_scale = norm_scale(config, block + "ca_norm.weight", loader),
      .context_norm_shift = loader.values(block + "ca_norm.bias", Shape{width})};
  return {shape, std::move(weights)};
}

}  // namespace

BlockShape infinity_block_shape(const InfinityConfig& config, DType compute) {
  return {.width = config.width,
          .query_heads = config.heads,
          .kv_heads = config.heads,
          .head_dim = config.head_dim,
          .ffn_width = config.ffn_width,
          .norm_epsilon = config.norm_epsilon,
          .normalize_qk = true,
          .attends_context = true,
          .compute = compute};
}

// Official code keeps what is computed once per picture, and the head, in f32.
AdaptiveNormShape infinity_norm_shape(const InfinityConfig& config) {
  return {.width = config.width, .layers = config.layers, .is_shared = true};
}

HeadShape infinity_head_shape(const InfinityConfig& config) {
  return {.width = config.width,
          .logits = kLogitsPerBit * config.token_bits(),
          .norm_epsilon = config.norm_epsilon};
}

DecoderShape infinity_decoder_shape(const InfinitySetting& setting, size_t strip_bytes) {
  const InfinityConfig& config = setting.config;
  return {.kind = DecoderKind::kPlain,
          .latent = infinity_quantizer_shape(setting).latent(),
          .latent_channels = config.latent_channels,
          .base_channels = config.base_channels,
          .multipliers = config.channel_multipliers,
          .blocks_per_level = config.num_res_blocks + 1,
          .strip_bytes = strip_bytes};
}

BsqShape infinity_quantizer_shape(const InfinitySetting& setting) {
  return {.maps = setting.geometry.scales,
          .channels = setting.config.latent_channels,
          .cells_per_side = setting.config.cells_per_side()};
}

InfinityLayers::InfinityLayers(const Context& context, const InfinitySetting& model_setting,
                               const RunTypes& run_types, const std::filesystem::path& folder)
    : setting(model_setting), types(run_types) {
  const InfinityConfig& config = setting.config;
  WeightLoader loader(context, folder, "model.safetensors");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks.push_back(load_block(config, types.compute, layer, loader));
    throw_if_cancelled(context);
  }
  modulations = std::make_unique<BlockModulations>(
      infinity_norm_shape(config),
      [&config](int64_t layer) { return infinity_block_name(config, layer); }, loader);
  head = std::make_unique<ModulatedHead>(infinity_head_shape(config), loader);
  text = std::make_unique<TextReader>(config, kernels::activation_type(types.compute), loader);
  word_embed = loader.linear("word_embed", product(config.token_bits(), config.width, DType::kF32));
  start_position = loader.values("pos_start", Shape{1, 1, config.width});
  levels = loader.values("lvl_embed.weight", Shape{config.max_scales, config.width});
  quantizer = std::make_unique<BsqQuantizer>(infinity_quantizer_shape(setting));

  WeightLoader vae_loader(context, folder, "vae.safetensors");
  decoder =
      std::make_unique<VaeDecoder>(infinity_decoder_shape(setting, types.strip_bytes), vae_loader);
  loaded_bytes = loader.loaded_bytes() + vae_loader.loaded_bytes() +
                 BsqQuantizer::table_bytes(quantizer->shape());
}

}  // namespace nextscale
