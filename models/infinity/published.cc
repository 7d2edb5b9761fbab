// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/published.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nextscale {
namespace {

constexpr std::array kPublished{
    PublishedInfinity{.name = "125m",
                      .layers = 12,
                      .chunks = 4,
                      .heads = 8,
                      .head_dim = 96,
                      .latent_channels = 16,
                      .size = "0.06M"},
    PublishedInfinity{.name = "2b",
                      .layers = 32,
                      .chunks = 8,
                      .heads = 16,
                      .head_dim = 128,
                      .latent_channels = 32},
    PublishedInfinity{.name = "8b",
                      .layers = 40,
                      .chunks = 8,
                      .heads = 28,
                      .head_dim = 128,
                      .latent_channels = 14,
                      .patchify = true,
                      .cfg = 3.0F,
                      .tau = 1.0F},
};

}  // namespace

std::span<const PublishedInfinity> published_infinity() { return kPublished; }

const PublishedInfinity* find_published_infinity(std::string_view name) {
  const auto* const found = std::ranges::find(kPublished, name, &PublishedInfinity::name);
  return found == kPublished.end() ? nullptr : found;
}

int64_t infinity_ffn_width(int64_t width) {
  constexpr double kFactor = 4.0;
  constexpr int64_t kUnit = 256;  // the width is a multiple of it
  // Half-way cases go to even, as in Python.
  const int64_t units = std::llrint(kFactor * static_cast<double>(width) / double{kUnit});
  return kUnit * std::max<int64_t>(1, units);
}

InfinityConfig infinity_config(const PublishedInfinity& model) {
  InfinityConfig config{.layers = model.layers,
                        .chunks = model.chunks,
                        .heads = model.heads,
                        .head_dim = model.head_dim,
                        .width = model.width(),
                        .ffn_width = infinity_ffn_width(model.width()),
                        .pool_heads = 16,
                        .text_channels = 2048,
                        .text_tokens = 512,
                        .max_scales = 15,
                        .latent_channels = model.latent_channels,
                        .patchify = model.patchify,
                        .base_channels = 128,
                        .channel_multipliers = {1, 2, 4, 4},
                        .num_res_blocks = 2,
                        .default_size = std::string(model.size),
                        .default_cfg = {model.cfg},
                        .default_tau = {model.tau},
                        .default_top_p = kInfinityTopP};
  // Cells of 8 pixels where a token is 2x2 of them, else of 16.
  if (!model.patchify) config.channel_multipliers.push_back(4);
  return config;
}

}  // namespace nextscale
