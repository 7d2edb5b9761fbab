// SPDX-License-Identifier: Apache-2.0
// Official VAR checkpoints → model folder.
//
// Streams tensor by tensor: memory is the largest tensor, whatever the size of the file. The folder
// appears complete or not at all. Not thread safe for one output folder.
//
//   convert_var({.transformer = "var_d16.pth", .vae = "vae_ch160v4096z32.pth", .output =
//   "var-d16"});
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "models/var/config.h"
#include "weights/atomic_folder.h"

namespace nextscale {

struct ConvertVarOptions {
  std::filesystem::path transformer;
  // Empty if the transformer's file is a training checkpoint, which holds both.
  std::filesystem::path vae;
  std::filesystem::path output;
  // Sides of the scales; needed only where the checkpoint does not record them.
  std::vector<int64_t> patch_nums;
  DType dtype = DType::kBF16;  // of matrices, f32 or bf16; vectors and embeddings stay f32
  ExistingFolder existing = ExistingFolder::kRefuse;
};

// Told after every piece of work: bytes done, bytes in all, and what is being done. May throw to
// stop; nothing is left behind then.
using ConvertProgress = std::function<void(uint64_t done, uint64_t total, std::string_view what)>;

// Returns the geometry that was found. Throws Error: kMismatch (not such a checkpoint), kUsage (a
// flag is needed or contradicts), kBadFile, kNotFound, kIo.
VarConfig convert_var(const ConvertVarOptions& options, const ConvertProgress& report = {});

}  // namespace nextscale
