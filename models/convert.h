// SPDX-License-Identifier: Apache-2.0
// What every family's conversion from official checkpoints takes. Plain data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "weights/atomic_folder.h"

namespace nextscale {

struct ConvertOptions {
  std::filesystem::path transformer;
  // Empty if the transformer's file is a training checkpoint, which holds both.
  std::filesystem::path vae;
  std::filesystem::path output;
  // Sides of the scales; needed only where the checkpoint does not record them.
  std::vector<int64_t> patch_nums{};
  // Size of the picture that runs make unless told otherwise; empty for the published one. Only for
  // families that have a choice.
  std::string size{};
  // Names of the classes, synonyms separated by ", "; empty for those that the family knows. Only
  // for families that are conditioned on classes.
  std::vector<std::string> class_names{};
  DType dtype = DType::kBF16;  // of matrices: f32, bf16 or i8; vectors and embeddings stay f32
  // Folder of a T5 as Hugging Face publishes it, for families that read prompts; empty: the model
  // folder gets no text encoder, and runs want features of texts.
  std::filesystem::path text_encoder{};
  DType text_dtype = DType::kBF16;  // of its matrices: f32, bf16 or i8
  ExistingFolder existing = ExistingFolder::kRefuse;
};

// Told after every piece of work: bytes done, bytes in all, and what is being done. May throw to
// stop; nothing is left behind then.
using ConvertProgress = std::function<void(uint64_t done, uint64_t total, std::string_view what)>;

}  // namespace nextscale
