// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numbers>
#include <string>

#include "apps/random_checkpoint/pickle_writer.h"
#include "apps/random_checkpoint/torch_writer.h"
#include "core/error_format.h"
#include "core/rng.h"
#include "models/var/var_tensors.h"

namespace nextscale {
namespace {

constexpr int64_t kHeadDim = 64;
constexpr float kSmall = 0.02F;               // of biases and embeddings
constexpr float kModulationScale = 0.3F;      // of ada_lin, beside other matrices
constexpr float kLogTemperature = 1.386294F;  // ln 4, where training starts

// Standard normal numbers, made once; tensors are windows of it. Large enough that no two rows of a
// matrix are alike, small enough to stay in a cache.
class NormalPool {
 public:
  explicit NormalPool(uint64_t seed) : seed_(seed), values_(kSize) {
    for (uint32_t index = 0; index < kSize; index += 2) {
      const RandomSite site{.seed = seed, .position = index};
      // Box and Muller's transform; 1 - u is never 0.
      const float radius = std::sqrt(-2.0F * std::log(1.0F - uniform(site, 0)));
      const float angle = 2.0F * std::numbers::pi_v<float> * uniform(site, 1);
      values_[index] = radius * std::cos(angle);
      values_[index + 1] = radius * std::sin(angle);
    }
  }

  // out[i] = mean + deviation * (element `first` + i of the sequence number `sequence`). Every turn
  // through the pool starts elsewhere.
  void fill(uint32_t sequence, uint64_t first, float mean, float deviation,
            std::span<float> out) const {
    while (!out.empty()) {
      const uint64_t turn = first / kSize;
      const uint64_t inside = first % kSize;
      const uint64_t start = (inside + offset_of(sequence, turn)) % kSize;
      const size_t count = std::min<uint64_t>({out.size(), kSize - inside, kSize - start});
      std::transform(values_.begin() + static_cast<ptrdiff_t>(start),
                     values_.begin() + static_cast<ptrdiff_t>(start + count), out.begin(),
                     [=](float value) { return mean + deviation * value; });
      out = out.subspan(count);
      first += count;
    }
  }

 private:
  static constexpr uint64_t kSize = 1 << 20;

  uint64_t offset_of(uint32_t sequence, uint64_t turn) const {
    const auto block =
        philox4x32({sequence, static_cast<uint32_t>(turn), 1, 1},
                   {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
    return block[0] % kSize;
  }

  uint64_t seed_;
  std::vector<float> values_;
};

struct Distribution {
  float mean = 0.0F;
  float deviation = 0.0F;
};

Distribution distribution_of(const TensorInfo& tensor) {
  const std::string& name = tensor.name;
  const bool is_norm = name.find("norm") != std::string::npos && name.ends_with(".weight");
  if (name.ends_with("scale_mul_1H11")) return {kLogTemperature, 0.1F};
  if (name.ends_with("zero_k_bias")) return {0.0F, 0.0F};
  if (is_norm) return {1.0F, kSmall};
  if (name == "quantize.embedding.weight" || name == "class_emb.weight") return {0.0F, 1.0F};
  const bool is_product =
      tensor.shape.rank() == 2 || name.ends_with("conv.weight") || tensor.shape.rank() == 4;
  if (!is_product || name.ends_with("ada_gss") || name == "lvl_embed.weight") return {0.0F, kSmall};
  // Keeps the variance of what goes through.
  const int64_t fan_in =
      std::max<int64_t>(1, tensor.shape.num_elements() / std::max<int64_t>(1, tensor.shape[0]));
  const float deviation = 1.0F / std::sqrt(static_cast<float>(fan_in));
  return {0.0F,
          name.find("ada_lin") == std::string::npos ? deviation : kModulationScale * deviation};
}

std::span<float> floats(std::span<std::byte> bytes) {
  NEXTSCALE_ASSERT(bytes.size() % sizeof(float) == 0);
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

TorchStorage random_storage(std::shared_ptr<const NormalPool> pool, size_t index,
                            const TensorInfo& tensor) {
  const Distribution distribution = distribution_of(tensor);
  return {std::to_string(index), tensor.num_bytes(),
          [=, pool = std::move(pool)](uint64_t offset, std::span<std::byte> out) {
            pool->fill(static_cast<uint32_t>(index), offset / sizeof(float), distribution.mean,
                       distribution.deviation, floats(out));
          }};
}

std::vector<int64_t> levels_of_tokens(const VarConfig& config) {
  std::vector<int64_t> levels;
  for (size_t scale = 0; scale < config.patch_nums.size(); ++scale) {
    const int64_t side = config.patch_nums[scale];
    levels.insert(levels.end(), static_cast<size_t>(side * side), static_cast<int64_t>(scale));
  }
  return levels;
}

// The scale of every token, int64.
TorchStorage level_storage(const VarConfig& config, size_t index) {
  const std::vector<int64_t> levels = levels_of_tokens(config);
  return {std::to_string(index), levels.size() * sizeof(int64_t),
          [levels](uint64_t offset, std::span<std::byte> out) {
            std::memcpy(out.data(), reinterpret_cast<const std::byte*>(levels.data()) + offset,
                        out.size());
          }};
}

// Training's mask: a token sees its own scale and those before it.
TorchStorage mask_storage(const VarConfig& config, size_t index) {
  const std::vector<int64_t> levels = levels_of_tokens(config);
  const uint64_t length = levels.size();
  return {std::to_string(index), length * length * sizeof(float),
          [levels, length](uint64_t offset, std::span<std::byte> out) {
            uint64_t element = offset / sizeof(float);
            for (float& value : floats(out)) {
              const bool sees = levels[element / length] >= levels[element % length];
              value = sees ? 0.0F : -std::numeric_limits<float>::infinity();
              ++element;
            }
          }};
}

// Tensors and their contents, in step.
struct Contents {
  std::vector<TensorInfo> tensors;
  std::vector<TorchStorage> storages;
};

Contents random_contents(std::vector<TensorInfo> tensors, uint64_t seed) {
  const auto pool = std::make_shared<const NormalPool>(seed);
  Contents contents{std::move(tensors), {}};
  for (size_t index = 0; index < contents.tensors.size(); ++index) {
    contents.storages.push_back(random_storage(pool, index, contents.tensors[index]));
  }
  return contents;
}

void add_transformer_buffers(const VarConfig& config, Contents& contents) {
  const int64_t tokens = total_tokens(config);
  contents.tensors.push_back({"lvl_1L", DType::kI64, Shape{1, tokens}});
  contents.storages.push_back(level_storage(config, contents.storages.size()));
  contents.tensors.push_back({"attn_bias_for_masking", DType::kF32, Shape{1, 1, tokens, tokens}});
  contents.storages.push_back(mask_storage(config, contents.storages.size()));
}

std::vector<TensorInfo> zero_biases(const VarConfig& config) {
  std::vector<TensorInfo> tensors;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    tensors.push_back(
        {fmt::format("blocks.{}.attn.zero_k_bias", layer), DType::kF32, Shape{config.width}});
  }
  return tensors;
}

void write(const std::filesystem::path& path, Contents contents) {
  write_torch_file(path, path.stem().string(), flat_torch_pickle(contents.tensors),
                   std::move(contents.storages));
}

}  // namespace

VarConfig random_var_config(const RandomVarShape& shape) {
  VarConfig config{.layers = shape.depth,
                   .width = shape.width != 0 ? shape.width : kHeadDim * shape.depth,
                   .classes = shape.classes,
                   .vocab = shape.vocab,
                   .latent_channels = shape.latent_channels,
                   .patch_nums = shape.patch_nums,
                   .shared_adaln = shape.shared_adaln,
                   .base_channels = shape.base_channels,
                   .channel_multipliers = {1, 1, 2, 2, 4},
                   .num_res_blocks = 2,
                   .num_phi_convs = 4,
                   .class_names = {}};
  config.heads = shape.heads != 0 ? shape.heads : std::max<int64_t>(1, config.width / kHeadDim);
  config.head_dim = config.width / config.heads;
  config.ffn_width = 4 * config.width;
  const std::string reason = impossible_setting(config);
  if (reason.empty()) return config;
  fail(ErrorCode::kUsage, "random checkpoint: no such model ({}); change the flags", reason);
}

void write_random_transformer(const std::filesystem::path& path, const VarConfig& config,
                              uint64_t seed, Buffers buffers) {
  std::vector<TensorInfo> tensors = var_transformer_tensors(config);
  if (buffers == Buffers::kOfficial) {
    for (TensorInfo& tensor : zero_biases(config)) tensors.push_back(std::move(tensor));
  }
  Contents contents = random_contents(std::move(tensors), seed);
  if (buffers == Buffers::kOfficial) add_transformer_buffers(config, contents);
  write(path, std::move(contents));
}

void write_random_vae(const std::filesystem::path& path, const VarConfig& config, uint64_t seed,
                      Buffers buffers) {
  std::vector<TensorInfo> tensors = var_vae_tensors(config);
  if (buffers == Buffers::kOfficial) {
    const auto num_scales = static_cast<int64_t>(config.patch_nums.size());
    tensors.push_back({"quantize.ema_vocab_hit_SV", DType::kF32, Shape{num_scales, config.vocab}});
  }
  write(path, random_contents(std::move(tensors), seed));
}

}  // namespace nextscale
