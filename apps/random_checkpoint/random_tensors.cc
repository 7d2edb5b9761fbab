// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/random_tensors.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <utility>

#include "apps/random_checkpoint/pickle_writer.h"
#include "core/atomic_file.h"
#include "core/error_format.h"
#include "core/rng.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
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

void write_shard(const std::filesystem::path& path, const RandomContents& contents, size_t first,
                 size_t last) {
  const auto at = [&](size_t index) {
    return contents.tensors.begin() + static_cast<ptrdiff_t>(index);
  };
  SafetensorsWriter writer(path, {at(first), at(last)}, {{"format", "pt"}});
  std::vector<std::byte> piece;
  for (size_t index = first; index < last; ++index) {
    const TorchStorage& storage = contents.storages[index];
    for (uint64_t offset = 0; offset < storage.bytes; offset += piece.size()) {
      piece.resize(std::min<uint64_t>(kPieceBytes, storage.bytes - offset));
      storage.fill(offset, piece);
      writer.write(piece);
    }
  }
  writer.finish();
}

}  // namespace

RandomContents random_contents(std::vector<TensorInfo> tensors, uint64_t seed) {
  const auto pool = std::make_shared<const NormalPool>(seed);
  RandomContents contents{std::move(tensors), {}};
  for (size_t index = 0; index < contents.tensors.size(); ++index) {
    contents.storages.push_back(random_storage(pool, index, contents.tensors[index]));
  }
  return contents;
}

void write_torch(const std::filesystem::path& path, RandomContents contents) {
  write_torch_file(path, path.stem().string(), flat_torch_pickle(contents.tensors),
                   std::move(contents.storages));
}

void write_shards(const std::filesystem::path& folder, const RandomContents& contents,
                  int num_shards) {
  std::filesystem::create_directories(folder);
  nlohmann::json names;
  uint64_t total = 0;
  for (int shard = 0; shard < num_shards; ++shard) {
    const size_t count = contents.tensors.size();
    const auto begin = count * static_cast<size_t>(shard) / static_cast<size_t>(num_shards);
    const auto end = count * static_cast<size_t>(shard + 1) / static_cast<size_t>(num_shards);
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, num_shards);
    write_shard(folder / name, contents, begin, end);
    for (size_t index = begin; index < end; ++index) {
      names[contents.tensors[index].name] = name;
      total += contents.tensors[index].num_bytes();
    }
  }
  AtomicFile index(folder / "model.safetensors.index.json");
  index.write(nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", names}}.dump(2));
  index.commit();
}

}  // namespace nextscale
