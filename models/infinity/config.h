// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of an Infinity model as a model folder's config.json records them. Plain data.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace nextscale {

struct InfinityConfig {
  int64_t layers = 0;
  int64_t chunks = 0;  // layers are stored in so many equal groups; only their names tell
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t width = 0;
  int64_t ffn_width = 0;
  int64_t pool_heads = 0;  // of the pooled text
  int64_t text_channels = 0;
  int64_t text_tokens = 0;      // rows of the learned "no text": the longest prompt
  int64_t max_scales = 0;       // rows of lvl_embed
  int64_t latent_channels = 0;  // bits of one cell of the latent
  bool patchify = false;        // a token is 2x2 cells
  float norm_epsilon = 1e-6F;
  // Decoder of pictures
  int64_t base_channels = 0;
  std::vector<int64_t> channel_multipliers;  // finest level first
  int64_t num_res_blocks = 0;                // per encoder level; the decoder has one more
  // Recommendations
  std::string default_size;        // as picture_size.h reads it
  std::vector<float> default_cfg;  // one, or one per scale
  std::vector<float> default_tau;  // likewise
  float default_top_p = 0.0F;

  int64_t cells_per_side() const { return patchify ? 2 : 1; }
  int64_t token_bits() const { return latent_channels * cells_per_side() * cells_per_side(); }
  int64_t pixels_per_cell() const { return int64_t{1} << (channel_multipliers.size() - 1); }
  int64_t pixels_per_token() const { return cells_per_side() * pixels_per_cell(); }
};

// From and to the contents of config.json. Parsing checks every value, and throws Error(kBadFile)
// or Error(kMismatch) naming the key, what it holds and what it may hold.
InfinityConfig parse_infinity_config(const nlohmann::json& config);
nlohmann::json to_json(const InfinityConfig& config);

// Why parse_infinity_config() would refuse this geometry; empty if it would not.
std::string impossible_setting(const InfinityConfig& config);

}  // namespace nextscale
