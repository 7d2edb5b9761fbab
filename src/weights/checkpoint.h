// SPDX-License-Identifier: Apache-2.0
// Files → named tensors, whatever the file format: a safetensors file, a torch.save file, or shards
// of either with an index. Not for model folders (model_folder.h).
//
//   auto checkpoint = Checkpoint::open("var_d16.pth");
//   for (const TensorInfo& tensor : checkpoint->tensors()) { ... }
//   std::vector<std::byte> bytes(checkpoint->find("head.bias")->num_bytes());
//   checkpoint->read("head.bias", bytes);
//
// Opening checks every length the file claims; nothing found in a file is ever executed. Owns the
// open file. Not thread safe.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace nextscale {

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;

  size_t num_bytes() const {
    return static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype);
  }
};

class Checkpoint {
 public:
  // Decides by contents what `path` is. Throws Error: kNotFound, kBadFile, kUnsupported, kIo.
  static std::unique_ptr<Checkpoint> open(const std::filesystem::path& path);
  // The same for a file that holds tensors itself: indices and folders are refused.
  static std::unique_ptr<Checkpoint> open_file(const std::filesystem::path& path);

  virtual ~Checkpoint() = default;

  // Sorted by name.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // Tensors of element types that this engine does not know: name → type as the file calls it.
  const std::map<std::string, std::string, std::less<>>& unreadable() const { return unreadable_; }
  // Null if the file has no readable tensor of this name.
  const TensorInfo* find(std::string_view name) const;

  // Copies a tensor, row-major and contiguous, in the file's dtype; `out` has exactly its bytes.
  // Throws Error: kMismatch for an unknown name, kUnsupported for an unreadable type, kBadFile or
  // kIo if the bytes cannot be had.
  void read(std::string_view name, std::span<std::byte> out);

  // What kind of file it is, for people: "safetensors", "torch".
  virtual std::string_view format() const = 0;
  const std::filesystem::path& path() const { return path_; }
  // Every file that belongs to it.
  virtual std::vector<std::filesystem::path> files() const { return {path_}; }

 protected:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}
  Checkpoint(Checkpoint&&) = default;
  Checkpoint& operator=(Checkpoint&&) = default;

  // `index` counts in tensors(); `out` has the right size.
  virtual void read_tensor(size_t index, std::span<std::byte> out) = 0;
  // Where `name` lies in tensors(); throws as read() does.
  size_t index_of(std::string_view name) const;

  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string, std::less<>> unreadable_;
};

}  // namespace nextscale
