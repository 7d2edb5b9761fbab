// SPDX-License-Identifier: Apache-2.0
#include "models/var/var_tensors.h"

#include <utility>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr int64_t kBlockModulations = 6;
constexpr int64_t kHeadModulations = 2;
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

  void conv(const std::string& name, int64_t out, int64_t in, int64_t side = kKernelSide) {
    add(name + ".weight", Shape{out, in, side, side});
    add(name + ".bias", Shape{out});
  }

  void norm(const std::string& name, int64_t channels) {
    add(name + ".weight", Shape{channels});
    add(name + ".bias", Shape{channels});
  }

  void res_block(const std::string& name, int64_t in, int64_t out) {
    norm(name + ".norm1", in);
    conv(name + ".conv1", out, in);
    norm(name + ".norm2", out);
    conv(name + ".conv2", out, out);
    if (in != out) conv(name + ".nin_shortcut", out, in, 1);
  }

  void attention_block(const std::string& name, int64_t channels) {
    norm(name + ".norm", channels);
    conv(name + ".qkv", 3 * channels, channels, 1);
    conv(name + ".proj_out", channels, channels, 1);
  }

  std::vector<TensorInfo> take() { return std::move(tensors_); }

 private:
  std::vector<TensorInfo> tensors_;
};

void add_block(const VarConfig& config, int64_t layer, TensorList& list) {
  const std::string block = fmt::format("blocks.{}.", layer);
  const int64_t width = config.width;
  if (config.shared_adaln) {
    list.add(block + "ada_gss", Shape{1, 1, kBlockModulations, width});
  } else {
    list.linear(block + "ada_lin.1", kBlockModulations * width, width);
  }
  if (config.qk_l2_norm) list.add(block + "attn.scale_mul_1H11", Shape{1, config.heads, 1, 1});
  list.add(block + "attn.q_bias", Shape{width});
  list.add(block + "attn.v_bias", Shape{width});
  list.add(block + "attn.mat_qkv.weight", Shape{3 * width, width});
  list.linear(block + "attn.proj", width, width);
  list.linear(block + "ffn.fc1", config.ffn_width, width);
  list.linear(block + "ffn.fc2", width, config.ffn_width);
}

// One resolution of the decoder; returns the channels it leaves.
int64_t add_level(const VarConfig& config, size_t level, int64_t channels, TensorList& list) {
  const bool is_coarsest = level + 1 == config.channel_multipliers.size();
  const int64_t out = config.base_channels * config.channel_multipliers[level];
  // The decoder has one block more per level than the encoder.
  for (int64_t block = 0; block <= config.num_res_blocks; ++block) {
    list.res_block(fmt::format("decoder.up.{}.block.{}", level, block), block == 0 ? channels : out,
                   out);
    if (is_coarsest) list.attention_block(fmt::format("decoder.up.{}.attn.{}", level, block), out);
  }
  if (level > 0) list.conv(fmt::format("decoder.up.{}.upsample.conv", level), out, out);
  return out;
}

}  // namespace

int64_t total_tokens(const VarConfig& config) {
  int64_t total = 0;
  for (const int64_t side : config.patch_nums) total += side * side;
  return total;
}

std::vector<TensorInfo> var_transformer_tensors(const VarConfig& config) {
  const int64_t width = config.width;
  const auto num_scales = static_cast<int64_t>(config.patch_nums.size());
  TensorList list;
  list.add("pos_start", Shape{1, 1, width});
  list.add("pos_1LC", Shape{1, total_tokens(config), width});
  list.linear("word_embed", width, config.latent_channels);
  list.add("class_emb.weight", Shape{config.classes + 1, width});
  list.add("lvl_embed.weight", Shape{num_scales, width});
  if (config.shared_adaln) list.linear("shared_ada_lin.1", kBlockModulations * width, width);
  for (int64_t layer = 0; layer < config.layers; ++layer) add_block(config, layer, list);
  list.linear("head_nm.ada_lin.1", kHeadModulations * width, width);
  list.linear("head", config.vocab, width);
  return list.take();
}

std::vector<TensorInfo> var_vae_tensors(const VarConfig& config) {
  const int64_t latent = config.latent_channels;
  int64_t channels = config.base_channels * config.channel_multipliers.back();
  TensorList list;
  list.add("quantize.embedding.weight", Shape{config.vocab, latent});
  for (int64_t phi = 0; phi < config.num_phi_convs; ++phi) {
    list.conv(fmt::format("quantize.quant_resi.qresi_ls.{}", phi), latent, latent);
  }
  list.conv("post_quant_conv", latent, latent);
  list.conv("decoder.conv_in", channels, latent);
  list.res_block("decoder.mid.block_1", channels, channels);
  list.attention_block("decoder.mid.attn_1", channels);
  list.res_block("decoder.mid.block_2", channels, channels);
  for (size_t level = config.channel_multipliers.size(); level-- > 0;) {
    channels = add_level(config, level, channels, list);
  }
  list.norm("decoder.norm_out", channels);
  list.conv("decoder.conv_out", kImageChannels, channels);
  return list.take();
}

}  // namespace nextscale
