// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "models/config_reader.h"
#include "models/infinity/picture_size.h"

namespace nextscale {
namespace {

using nlohmann::json;

// Bounds on what a config may claim, some times larger than any published model: enough for
// experiments, small enough that no product of them overflows.
constexpr int64_t kMaxLayers = 256;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxWidth = 32768;
constexpr int64_t kMaxFfnWidth = 8 * kMaxWidth;
constexpr int64_t kMaxTextTokens = 65536;
constexpr int64_t kMaxLevelRows = 64;
constexpr int64_t kMaxLatentChannels = 256;
constexpr int64_t kMaxBaseChannels = 1024;
constexpr int64_t kMaxMultiplier = 16;
constexpr size_t kMaxDecoderLevels = 6;
constexpr int64_t kMaxResBlocks = 8;
constexpr double kMaxEpsilon = 1e-2;
constexpr double kMaxCfg = 1000.0;
constexpr double kLeastTau = 1e-3;
constexpr double kMaxTau = 1000.0;
// Rotations come in pairs of channels, half of them for rows and half for columns.
constexpr int64_t kHeadDimUnit = 4;
// Group sizes that the decoder's GroupNorms know.
constexpr int64_t kNormGroups = 32;
constexpr int64_t kOtherNormGroups = 24;

constexpr ConfigReader kRead("infinity");

const json* member(const json& object, std::string_view key) {
  return ConfigReader::member(object, key);
}

void parse_model(const json& model, InfinityConfig& config) {
  config.layers = kRead.integer(model, "layers", 1, kMaxLayers);
  config.chunks = kRead.integer(model, "chunks", 1, config.layers);
  config.heads = kRead.integer(model, "heads", 1, kMaxHeads);
  config.head_dim = kRead.integer(model, "head_dim", kHeadDimUnit, kMaxHeadDim);
  config.width = kRead.integer(model, "width", 1, kMaxWidth);
  config.ffn_width = kRead.integer(model, "ffn_width", 1, kMaxFfnWidth);
  config.pool_heads = kRead.integer(model, "pool_heads", 1, kMaxHeads);
  config.text_channels = kRead.integer(model, "text_channels", 1, kMaxWidth);
  config.text_tokens = kRead.integer(model, "text_tokens", 1, kMaxTextTokens);
  config.max_scales = kRead.integer(model, "max_scales", 2, kMaxLevelRows);
  config.latent_channels = kRead.integer(model, "latent_channels", 1, kMaxLatentChannels);
  config.patchify = kRead.boolean(model, "patchify");
  config.norm_epsilon = kRead.real(model, "norm_epsilon", 0.0, kMaxEpsilon);
  if (config.layers % config.chunks != 0) {
    kRead.refuse("chunks", member(model, "chunks"), "a divisor of the layers");
  }
  if (config.head_dim % kHeadDimUnit != 0) {
    kRead.refuse("head_dim", member(model, "head_dim"),
                 fmt::format("a multiple of {}", kHeadDimUnit));
  }
  if (config.width != config.heads * config.head_dim) {
    kRead.refuse("width", member(model, "width"), "heads times head_dim");
  }
  if (config.width % config.pool_heads != 0) {
    kRead.refuse("pool_heads", member(model, "pool_heads"), "a divisor of the width");
  }
}

void parse_vae(const json& vae, InfinityConfig& config) {
  config.base_channels = kRead.integer(vae, "base_channels", 1, kMaxBaseChannels);
  config.channel_multipliers =
      kRead.integers(vae, "channel_multipliers", kMaxDecoderLevels, kMaxMultiplier);
  config.num_res_blocks = kRead.integer(vae, "num_res_blocks", 1, kMaxResBlocks);
  const bool has_groups = std::ranges::all_of(config.channel_multipliers, [&](int64_t multiplier) {
    const int64_t channels = multiplier * config.base_channels;
    return channels % kNormGroups == 0 || channels % kOtherNormGroups == 0;
  });
  if (!has_groups) {
    kRead.refuse(
        "base_channels", member(vae, "base_channels"),
        fmt::format("multiples of {} or {} in every level", kNormGroups, kOtherNormGroups));
  }
  if (config.channel_multipliers.empty() || !std::ranges::is_sorted(config.channel_multipliers)) {
    kRead.refuse("channel_multipliers", member(vae, "channel_multipliers"),
                 "ascending whole numbers");
  }
}

void parse_defaults(const json& defaults, InfinityConfig& config) {
  config.default_size = kRead.text(defaults, "size");
  config.default_cfg = kRead.reals(defaults, "cfg", 0.0, kMaxCfg);
  config.default_tau = kRead.reals(defaults, "tau", kLeastTau, kMaxTau);
  config.default_top_p = kRead.real(defaults, "top_p", 0.0, 1.0);
  if (!find_infinity_picture(config.default_size)) {
    kRead.refuse("size", member(defaults, "size"), kInfinityPictureForms);
  }
}

// One number where there is one.
json numbers(const std::vector<float>& values) {
  json list = json::array();
  for (const float value : values) list.push_back(decimal(value));
  return list.size() == 1 ? list.front() : list;
}

}  // namespace

InfinityConfig parse_infinity_config(const json& config) {
  InfinityConfig result;
  kRead.require_family(config);
  parse_model(kRead.section(config, "model"), result);
  parse_vae(kRead.section(config, "vae"), result);
  parse_defaults(kRead.section(config, "defaults"), result);
  return result;
}

json to_json(const InfinityConfig& config) {
  return {{"family", "infinity"},
          {"model",
           {{"layers", config.layers},
            {"chunks", config.chunks},
            {"heads", config.heads},
            {"head_dim", config.head_dim},
            {"width", config.width},
            {"ffn_width", config.ffn_width},
            {"pool_heads", config.pool_heads},
            {"text_channels", config.text_channels},
            {"text_tokens", config.text_tokens},
            {"max_scales", config.max_scales},
            {"latent_channels", config.latent_channels},
            {"patchify", config.patchify},
            {"norm_epsilon", decimal(config.norm_epsilon)}}},
          {"vae",
           {{"base_channels", config.base_channels},
            {"channel_multipliers", config.channel_multipliers},
            {"num_res_blocks", config.num_res_blocks}}},
          {"defaults",
           {{"size", config.default_size},
            {"cfg", numbers(config.default_cfg)},
            {"tau", numbers(config.default_tau)},
            {"top_p", decimal(config.default_top_p)}}}};
}

std::string impossible_setting(const InfinityConfig& config) {
  return refusal_of([&] { parse_infinity_config(to_json(config)); });
}

}  // namespace nextscale
