// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of a VAR model as a model folder's config.json records them. Plain data.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace nextscale {

struct VarConfig {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t width = 0;
  int64_t ffn_width = 0;
  int64_t classes = 0;  // without the "no class" row
  int64_t vocab = 0;
  int64_t latent_channels = 0;
  std::vector<int64_t> patch_nums;  // side of every scale
  bool shared_adaln = false;
  bool qk_l2_norm = true;
  float norm_epsilon = 1e-6F;
  // VQVAE
  int64_t base_channels = 0;
  std::vector<int64_t> channel_multipliers;  // finest level first
  int64_t num_res_blocks = 0;                // per encoder level; the decoder has one more
  int64_t num_phi_convs = 0;
  // Recommendations for sampling.
  float default_cfg = 0.0F;
  int64_t default_top_k = 0;
  float default_top_p = 0.0F;
  // Of each class, its synonyms separated by ", "; or none at all.
  std::vector<std::string> class_names;
};

// At least two sides, the first 1, each larger than the one before, none absurd.
bool is_patch_schedule(std::span<const int64_t> patch_nums);

// From and to the contents of config.json. Parsing checks every value, and throws Error(kBadFile)
// or Error(kMismatch) naming the key, what it holds and what it may hold.
VarConfig parse_var_config(const nlohmann::json& config);
nlohmann::json to_json(const VarConfig& config);

// Why parse_var_config() would refuse this geometry ("0 for 'layers', wanted …"); empty if it would
// not.
std::string impossible_setting(const VarConfig& config);

}  // namespace nextscale
