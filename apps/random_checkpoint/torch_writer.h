// SPDX-License-Identifier: Apache-2.0
// Writes the ZIP layout of torch.save: "<folder>/data.pkl", "<folder>/data/<key>",
// "<folder>/version"; entries stored, ZIP64 where needed. Storages are asked for in pieces, so the
// size of the file is no matter of memory. For generated checkpoints and tests; the engine reads
// such files only. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace nextscale {

struct TorchStorage {
  std::string key;
  uint64_t bytes = 0;
  // Writes the bytes [offset, offset + out.size()) of the storage.
  std::function<void(uint64_t offset, std::span<std::byte> out)> fill;
};

// The file appears complete or not at all. Throws Error(kIo). `folder` is the name of the one
// folder in the ZIP.
void write_torch_file(const std::filesystem::path& path, const std::string& folder,
                      const std::string& pickle, std::vector<TorchStorage> storages);

}  // namespace nextscale
