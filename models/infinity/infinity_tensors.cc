// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/infinity_tensors.h"

#include <utility>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr int64_t kBlockModulations = 6;
constexpr int64_t kHeadModulations = 2;
constexpr int64_t kLogitsPerBit = 2;
constexpr int64_t kKernelSide = 3;
constexpr int64_t kImageChannels = 3;

class TensorList {
 public:
  void add(std::string name, const Shape& shape) {
    tensors_.push_back({std::move(name), DType::kF32, shape});
  }

  void linear(const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", Shape{out, in});
    add(name + ".bias", Shape{out});
  }

  void norm(const std::string& name, int64_t channels) {
    add(name + ".weight", Shape{channels});
    add(name + ".bias", Shape{channels});
  }

  void conv(const std::string& name, int64_t out, int64_t in, int64_t side = kKernelSide) {
    add(name + ".weight", Shape{out, in, side, side});
    add(name + ".bias", Shape{out});
  }

  void res_block(const std::string& name, int64_t in, int64_t out) {
    norm(name + ".norm1", in);
    conv(name + ".conv1", out, in);
    norm(name + ".norm2", out);
    conv(name + ".conv2", out, out);
    if (in != out) conv(name + ".nin_shortcut", out, in, 1);
  }

  std::vector<TensorInfo> take() { return std::move(tensors_); }

 private:
  std::vector<TensorInfo> tensors_;
};

void add_text(const InfinityConfig& config, TensorList& list) {
  const int64_t width = config.width;
  list.add("cfg_uncond", Shape{config.text_tokens, config.text_channels});
  list.add("text_norm.weight", Shape{config.text_channels});
  const std::string pool = "text_proj_for_sos.ca.";
  list.add(pool + "mat_q", Shape{1, config.pool_heads, width / config.pool_heads});
  list.add(pool + "mat_kv.weight", Shape{2 * width, config.text_channels});
  list.add(pool + "v_bias", Shape{width});
  list.linear(pool + "proj", width, width);
  list.linear("text_proj_for_ca.0", width, config.text_channels);
  list.linear("text_proj_for_ca.2", width, width);
}

void add_block(const InfinityConfig& config, int64_t layer, TensorList& list) {
  const std::string block = infinity_block_name(config, layer);
  const int64_t width = config.width;
  list.add(block + "ada_gss", Shape{1, 1, kBlockModulations, width});
  list.add(block + "sa.mat_qkv.weight", Shape{3 * width, width});
  list.add(block + "sa.q_bias", Shape{width});
  list.add(block + "sa.v_bias", Shape{width});
  list.add(block + "sa.scale_mul_1H11", Shape{1, config.heads, 1, 1});
  list.linear(block + "sa.proj", width, width);
  list.norm(block + "ca_norm", width);
  list.linear(block + "ca.mat_q", width, width);
  list.add(block + "ca.mat_kv.weight", Shape{2 * width, width});
  list.add(block + "ca.v_bias", Shape{width});
  list.linear(block + "ca.proj", width, width);
  list.linear(block + "ffn.fc1", config.ffn_width, width);
  list.linear(block + "ffn.fc2", width, config.ffn_width);
}

}  // namespace

std::string infinity_block_name(const InfinityConfig& config, int64_t layer) {
  const int64_t per_chunk = config.layers / config.chunks;
  return fmt::format("block_chunks.{}.module.{}.", layer / per_chunk, layer % per_chunk);
}

std::vector<TensorInfo> infinity_transformer_tensors(const InfinityConfig& config) {
  const int64_t width = config.width;
  TensorList list;
  add_text(config, list);
  list.add("pos_start", Shape{1, 1, width});
  list.add("lvl_embed.weight", Shape{config.max_scales, width});
  list.linear("word_embed", width, config.token_bits());
  list.linear("shared_ada_lin.1", kBlockModulations * width, width);
  for (int64_t layer = 0; layer < config.layers; ++layer) add_block(config, layer, list);
  list.linear("head_nm.ada_lin.1", kHeadModulations * width, width);
  list.linear("head", kLogitsPerBit * config.token_bits(), width);
  return list.take();
}

std::vector<TensorInfo> infinity_vae_tensors(const InfinityConfig& config) {
  int64_t channels = config.base_channels * config.channel_multipliers.back();
  TensorList list;
  list.conv("decoder.conv_in", channels, config.latent_channels);
  list.res_block("decoder.mid.block_1", channels, channels);
  list.res_block("decoder.mid.block_2", channels, channels);
  for (size_t level = config.channel_multipliers.size(); level-- > 0;) {
    const int64_t out = config.base_channels * config.channel_multipliers[level];
    for (int64_t block = 0; block <= config.num_res_blocks; ++block, channels = out) {
      list.res_block(fmt::format("decoder.up.{}.block.{}", level, block), channels, out);
    }
    if (level > 0) list.conv(fmt::format("decoder.up.{}.upsample.conv", level), out, out);
  }
  list.norm("decoder.norm_out", channels);
  list.conv("decoder.conv_out", kImageChannels, channels);
  return list.take();
}

std::string wrapped_vae_name(std::string_view name) {
  const size_t parameter = name.rfind('.');
  const std::string_view layer = name.substr(0, parameter);
  const bool is_norm = layer.substr(layer.rfind('.') + 1).starts_with("norm");
  return fmt::format("{}.{}{}", layer, is_norm ? "norm" : "conv", name.substr(parameter));
}

}  // namespace nextscale
