// SPDX-License-Identifier: Apache-2.0
// Hyperparameters of a T5 encoder (Raffel et al.: "Exploring the Limits of Transfer Learning with a
// Unified Text-to-Text Transformer", 2020; version 1.1, as Flan-T5), and the tensors that follow
// from them. Keys and names are those of Hugging Face. Plain data.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale {

struct T5Config {
  int64_t layers = 0;     // num_layers
  int64_t width = 0;      // d_model
  int64_t heads = 0;      // num_heads
  int64_t head_dim = 0;   // d_kv
  int64_t ffn_width = 0;  // d_ff
  int64_t vocab = 0;      // rows of the embedding
  int64_t buckets = 0;    // of distances between tokens
  int64_t max_distance = 0;
  float norm_epsilon = 1e-6F;

  int64_t inner() const { return heads * head_dim; }
};

// From a T5's own config.json, or from the section "text_encoder" of a model folder's; both have
// the same keys. Throws Error(kBadFile) naming the key, kUnsupported for T5s with another
// feed-forward.
T5Config parse_t5_config(const nlohmann::json& config);
nlohmann::json to_json(const T5Config& config);

// The encoder's tensors, all f32.
std::vector<TensorInfo> t5_tensors(const T5Config& config);

inline constexpr std::string_view kT5Embedding = "shared.weight";
inline constexpr std::string_view kT5RelativeBias =
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
inline constexpr std::string_view kT5FinalNorm = "encoder.final_layer_norm.weight";
// "encoder.block.3.layer.0.": attention; layer.1: feed-forward.
std::string t5_layer_name(int64_t layer, int branch);

// The bucket of a key `distance` tokens behind (or, negative, before) its query.
int64_t t5_bucket(const T5Config& config, int64_t distance);

}  // namespace nextscale
