// SPDX-License-Identifier: Apache-2.0
// A model spread over several safetensors or torch files, listed by a "*.index.json" whose
// "weight_map" names the file of every tensor. Shards lie in the folder of the index; anything that
// points elsewhere is refused. Owns the open files. Not thread safe.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale {

class ShardedCheckpoint final : public Checkpoint {
 public:
  // Throws Error: kNotFound (a shard is missing), kBadFile, kUnsupported, kIo.
  explicit ShardedCheckpoint(const std::filesystem::path& index_path);

  std::string_view format() const override { return format_; }
  std::vector<std::filesystem::path> files() const override;

 private:
  void read_tensor(size_t index, std::span<std::byte> out) override;

  std::string format_;
  std::vector<std::unique_ptr<Checkpoint>> shards_;
  std::vector<size_t> shard_of_;  // for each tensor
};

}  // namespace nextscale
