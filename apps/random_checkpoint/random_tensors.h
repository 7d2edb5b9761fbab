// SPDX-License-Identifier: Apache-2.0
// Files of named tensors with random values, whatever the family. Values depend on the seed, the
// place of the tensor in the list and its name's kind alone (so that activations stay finite at any
// depth). Writes as fast as the disk, in memory of a few megabytes. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "apps/random_checkpoint/torch_writer.h"
#include "weights/checkpoint.h"

namespace nextscale {

// Tensors and their contents, in step.
struct RandomContents {
  std::vector<TensorInfo> tensors;
  std::vector<TorchStorage> storages;
};

// `tensors` are all f32.
RandomContents random_contents(std::vector<TensorInfo> tensors, uint64_t seed);

// As torch.save writes a flat dictionary.
void write_torch(const std::filesystem::path& path, RandomContents contents);

// As a folder of `num_shards` safetensors files with their index.
void write_shards(const std::filesystem::path& folder, const RandomContents& contents,
                  int num_shards);

}  // namespace nextscale
