// SPDX-License-Identifier: Apache-2.0
#include "models/text/t5_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "models/config_reader.h"

namespace nextscale {
namespace {

using nlohmann::json;

constexpr ConfigReader kReader("T5");
constexpr std::string_view kFeedForward = "gated-gelu";
constexpr int64_t kMaxLayers = 256;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 1024;
constexpr int64_t kMaxWidth = int64_t{1} << 16;
constexpr int64_t kMaxVocab = int64_t{1} << 22;
constexpr int64_t kMaxBuckets = 1024;
constexpr int64_t kMaxDistance = int64_t{1} << 16;
// Configs written before the key existed mean this.
constexpr int64_t kDefaultMaxDistance = 128;

void require_kind(const json& config) {
  if (!config.is_object() || kReader.text(config, "model_type") != "t5") {
    kReader.refuse("model_type", ConfigReader::member(config, "model_type"), "t5");
  }
  const std::string feed_forward = kReader.text(config, "feed_forward_proj");
  if (feed_forward == kFeedForward) return;
  fail(ErrorCode::kUnsupported,
       "T5: the feed-forward is '{}', wanted '{}'; use a T5 of version 1.1, such as flan-t5-xl",
       printable(feed_forward), kFeedForward);
}

}  // namespace

T5Config parse_t5_config(const json& config) {
  require_kind(config);
  const auto integer = [&](std::string_view key, int64_t least, int64_t most) {
    return kReader.integer(config, key, least, most);
  };
  T5Config result;
  result.layers = integer("num_layers", 1, kMaxLayers);
  result.width = integer("d_model", 1, kMaxWidth);
  result.heads = integer("num_heads", 1, kMaxHeads);
  result.head_dim = integer("d_kv", 1, kMaxHeadDim);
  result.ffn_width = integer("d_ff", 1, kMaxWidth);
  result.vocab = integer("vocab_size", 3, kMaxVocab);
  result.buckets = integer("relative_attention_num_buckets", 4, kMaxBuckets);
  result.max_distance = kDefaultMaxDistance;
  if (config.contains("relative_attention_max_distance")) {
    result.max_distance = integer("relative_attention_max_distance", result.buckets, kMaxDistance);
  }
  result.norm_epsilon = kReader.real(config, "layer_norm_epsilon", 0.0, 1.0);
  return result;
}

json to_json(const T5Config& config) {
  return {{"model_type", "t5"},
          {"feed_forward_proj", kFeedForward},
          {"num_layers", config.layers},
          {"d_model", config.width},
          {"num_heads", config.heads},
          {"d_kv", config.head_dim},
          {"d_ff", config.ffn_width},
          {"vocab_size", config.vocab},
          {"relative_attention_num_buckets", config.buckets},
          {"relative_attention_max_distance", config.max_distance},
          {"layer_norm_epsilon", decimal(config.norm_epsilon)}};
}

std::string t5_layer_name(int64_t layer, int branch) {
  return fmt::format("encoder.block.{}.layer.{}.", layer, branch);
}

std::vector<TensorInfo> t5_tensors(const T5Config& config) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](std::string name, const Shape& shape) {
    tensors.push_back({std::move(name), DType::kF32, shape});
  };
  add(std::string(kT5Embedding), Shape{config.vocab, config.width});
  add(std::string(kT5RelativeBias), Shape{config.buckets, config.heads});
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string attention = t5_layer_name(layer, 0);
    const std::string ffn = t5_layer_name(layer, 1);
    add(attention + "layer_norm.weight", Shape{config.width});
    for (const char* part : {"q", "k", "v"}) {
      add(attention + "SelfAttention." + part + ".weight", Shape{config.inner(), config.width});
    }
    add(attention + "SelfAttention.o.weight", Shape{config.width, config.inner()});
    add(ffn + "layer_norm.weight", Shape{config.width});
    for (const char* part : {"wi_0", "wi_1"}) {
      add(ffn + "DenseReluDense." + part + ".weight", Shape{config.ffn_width, config.width});
    }
    add(ffn + "DenseReluDense.wo.weight", Shape{config.width, config.ffn_width});
  }
  add(std::string(kT5FinalNorm), Shape{config.width});
  return tensors;
}

int64_t t5_bucket(const T5Config& config, int64_t distance) {
  const int64_t per_side = config.buckets / 2;
  const int64_t exact = per_side / 2;
  const int64_t base = distance > 0 ? per_side : 0;
  const int64_t steps = std::abs(distance);
  if (steps < exact) return base + steps;
  // In f32 and in this order, as the official code: it decides which side a boundary falls on.
  const float ratio = std::log(static_cast<float>(steps) / static_cast<float>(exact));
  const auto whole = static_cast<float>(
      std::log(static_cast<double>(config.max_distance) / static_cast<double>(exact)));
  const auto further = static_cast<int64_t>(ratio / whole * static_cast<float>(per_side - exact));
  return base + std::min(per_side - 1, exact + further);
}

}  // namespace nextscale
