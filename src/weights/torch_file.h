// SPDX-License-Identifier: Apache-2.0
// Reads the files that torch.save writes (since PyTorch 1.6: a ZIP of one pickle and one raw entry
// per storage). The pickle is interpreted, never executed: see torch_pickle.h.
//
// Opening reads the directory and the pickle; a storage is read when a tensor of it is asked for,
// and never more of it than the tensor spans. Owns the open ZIP. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

struct zip;  // libzip's archive

namespace nextscale {

class TorchFile final : public Checkpoint {
 public:
  // Throws Error: kNotFound, kBadFile, kUnsupported, kMismatch (sound but not a mapping of
  // tensors), kIo.
  explicit TorchFile(const std::filesystem::path& path);

  std::string_view format() const override { return "torch"; }

 private:
  struct Close {
    void operator()(zip* archive) const;
  };
  // Where a tensor lies in its storage; counts are in elements.
  struct Place {
    uint64_t entry = 0;  // index in the ZIP
    uint64_t entry_bytes = 0;
    int64_t offset = 0;
    int64_t extent = 0;
    std::vector<int64_t> strides;
  };

  void read_tensor(size_t index, std::span<std::byte> out) override;
  void read_window(const Place& place, size_t element_bytes, std::span<std::byte> out,
                   std::string_view name);

  std::unique_ptr<zip, Close> archive_;
  std::vector<Place> places_;  // for each tensor
};

}  // namespace nextscale
