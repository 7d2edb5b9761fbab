// SPDX-License-Identifier: Apache-2.0
// Features of prompts kept on disk, so that a prompt that was encoded once needs no encoder again:
// one small file for each prompt and encoder. Entries are written whole or not at all, and carry a
// checksum; a damaged one counts as absent and is written anew. Nothing is ever removed: the folder
// is the user's.
//
// Owns nothing but the path; several processes may share a folder. Const calls are thread safe.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "core/tensor.h"

namespace nextscale {

struct CachedFeatures {
  std::optional<Tensor> features;  // [ids, channels] f32
  std::string note;                // what to tell people about a damaged entry, else empty
};

class FeatureCache {
 public:
  // Makes the folder if it does not exist; throws Error(kIo) if it cannot. `encoder` tells encoders
  // apart whose features differ: the checksum of the weights, and how they are computed.
  FeatureCache(std::filesystem::path folder, std::string encoder, int64_t channels);

  CachedFeatures find(std::span<const int32_t> ids) const;
  // Throws Error(kIo), for example when the disk is full.
  void store(std::span<const int32_t> ids, const Tensor& features) const;

  // The file of a prompt.
  std::filesystem::path entry(std::span<const int32_t> ids) const;

 private:
  std::filesystem::path folder_;
  std::string encoder_;
  int64_t channels_;
};

}  // namespace nextscale
