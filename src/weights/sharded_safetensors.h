// SPDX-License-Identifier: Apache-2.0
// A model spread over several safetensors files, listed by a "*.safetensors.index.json" whose
// "weight_map" names the file of every tensor. Shards lie in the folder of the index; anything that
// points elsewhere is refused. Owns the open files. Not thread safe.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "weights/safetensors.h"

namespace nextscale {

class ShardedSafetensors final : public Checkpoint {
 public:
  // Throws Error: kNotFound (a shard is missing), kBadFile, kUnsupported, kIo.
  explicit ShardedSafetensors(const std::filesystem::path& index_path);

  std::string_view format() const override { return "sharded safetensors"; }
  std::vector<std::filesystem::path> files() const override;

 private:
  void read_tensor(size_t index, std::span<std::byte> out) override;

  std::vector<SafetensorsFile> shards_;
  std::vector<size_t> shard_of_;  // for each tensor
};

}  // namespace nextscale
