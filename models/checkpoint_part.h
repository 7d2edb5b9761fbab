// SPDX-License-Identifier: Apache-2.0
// One network inside an official checkpoint: found by a tensor that only it has, measured by
// shapes, compared tensor by tensor with what its geometry demands. Shared by the conversions of
// all families. Reads no weights. Not thread safe.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale {

// The tensors whose names start with `prefix`. Borrows the checkpoint.
struct CheckpointPart {
  Checkpoint* checkpoint = nullptr;
  std::string prefix;  // "" for a flat file, "trainer/var_wo_ddp/" in a training checkpoint
  // The file's name for one of ours, where files of one network differ; null: the same.
  std::string (*stored_name)(std::string_view name) = nullptr;

  // A tensor's name in the checkpoint.
  std::string full_name(std::string_view name) const {
    return prefix + (stored_name == nullptr ? std::string(name) : stored_name(name));
  }
  const TensorInfo* find(std::string_view name) const { return checkpoint->find(full_name(name)); }
};

// What to look for, and how to speak of it.
struct PartToFind {
  std::string_view anchor;          // a tensor that every such network has and nothing else
  std::string_view what;            // "VAR transformer"
  std::string_view flag;            // "--transformer"
  std::string_view preferred = {};  // prefix to take where several have the anchor
};

// Finds the one place where the anchor lies, at the top or inside dictionaries. Throws
// Error(kMismatch) saying what the file looks like instead.
CheckpointPart find_part(Checkpoint& checkpoint, const PartToFind& wanted);

// "it looks like an Infinity transformer", for messages.
std::string what_it_looks_like(const Checkpoint& checkpoint);

// The shape of a tensor that geometry is read from; throws Error(kMismatch) unless it is there and
// of this rank.
Shape shape_of(const CheckpointPart& part, const std::string& name, int rank);

// How many of name(0), name(1), … there are, up to an absurd number.
template <typename Name>
int64_t count_numbered(const CheckpointPart& part, const Name& name) {
  constexpr int64_t kMost = 1000;
  int64_t count = 0;
  while (count < kMost && part.find(name(count)) != nullptr) ++count;
  return count;
}

// Of a VAE's decoder, as its shapes tell.
struct DecoderSizes {
  int64_t base_channels = 0;
  std::vector<int64_t> channel_multipliers;  // finest level first
  int64_t num_res_blocks = 0;                // per encoder level; the decoder has one more
};

// Throws Error(kMismatch) for a part without a level.
DecoderSizes decoder_sizes(const CheckpointPart& vae);

// Throws one Error(kMismatch) that names the tensors that are missing, misshapen or not floats.
void require_tensors(const CheckpointPart& part, std::span<const TensorInfo> wanted,
                     std::string_view what);

}  // namespace nextscale
