// SPDX-License-Identifier: Apache-2.0
// The safetensors format: an 8-byte length, a JSON header, raw little-endian data.
//
// SafetensorsFile maps a file and hands out views; it owns the mapping, so views die with it.
// SafetensorsWriter streams a new file and makes it appear complete or not at all; it starts the
// data at a multiple of 64 bytes. Sharded files: sharded_checkpoint.h. Const calls are thread
// safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/atomic_file.h"
#include "weights/checkpoint.h"
#include "weights/mapped_file.h"
#include "weights/sha256.h"

namespace nextscale {

class SafetensorsFile final : public Checkpoint {
 public:
  // Checks the whole header. Throws Error: kNotFound, kBadFile, kUnsupported, kIo.
  explicit SafetensorsFile(const std::filesystem::path& path);

  // The tensor where it lies in the mapped file. Throws as read() does, and kUnsupported if a
  // foreign writer put it at an address its elements cannot have (read() still works).
  ConstTensorView view(std::string_view name) const;
  // Gives back the memory of a tensor that was packed elsewhere. Views of it stay valid.
  void drop(std::string_view name) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  size_t file_bytes() const { return file_.size(); }
  std::string_view format() const override { return "safetensors"; }

 private:
  void read_tensor(size_t index, std::span<std::byte> out) override;

  MappedFile file_;
  std::vector<size_t> offsets_;  // of each tensor, in bytes from the start of the file
  std::map<std::string, std::string> metadata_;
};

class SafetensorsWriter {
 public:
  // Tensors are written in this order. Padding between tensors does not exist in the format, so
  // order them with aligned_order() where the reader will want views.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorInfo>& tensors,
                    const std::map<std::string, std::string>& metadata = {});

  // Appends bytes of the current tensor; pieces may be of any size.
  void write(std::span<const std::byte> bytes);
  // All bytes must have been written. Flushes and renames; returns the SHA-256 of the file.
  std::string finish();

  uint64_t file_bytes() const { return header_bytes_ + data_bytes_; }

 private:
  AtomicFile file_;
  Sha256 hash_;
  uint64_t header_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  uint64_t written_bytes_ = 0;
};

// Reorders so that every tensor whose size is a multiple of 64 bytes starts at one, and every other
// at a multiple of its element size.
void aligned_order(std::vector<TensorInfo>& tensors);

}  // namespace nextscale
