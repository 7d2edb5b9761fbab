// SPDX-License-Identifier: Apache-2.0
// A T5 encoder as Hugging Face publishes it → two files of a model folder: text_encoder.safetensors
// and spiece.model. For the conversions of the families that read prompts:
//
//   const T5Source source = open_t5("flan-t5-xl");       // checks everything, reads no weights
//   files.push_back(t5_weights(source, DType::kBF16));   // f32, bf16 or i8
//   files.push_back(t5_tokenizer(source));
//   config["text_encoder"] = to_json(source.config);
//   write_model_folder(options, config, files, report);
//
// The weights are model.safetensors or pytorch_model.bin, whole or in shards with an index; what
// belongs to the decoder is left behind.
#pragma once

#include <filesystem>
#include <memory>

#include "models/folder_writer.h"
#include "models/text/t5_config.h"

namespace nextscale {

inline constexpr std::string_view kTextEncoderName = "text_encoder.safetensors";
inline constexpr std::string_view kTokenizerName = "spiece.model";

// Owns the open files; what t5_weights() returns borrows them.
struct T5Source {
  T5Config config;
  std::unique_ptr<Checkpoint> checkpoint;
  CheckpointPart part;
  std::filesystem::path tokenizer;
};

// Throws Error: kNotFound (no such folder, or a file is missing), kMismatch (another network, or
// a tokenizer that does not fit it), kUnsupported, kBadFile, kIo.
T5Source open_t5(const std::filesystem::path& folder);

// Matrices in `dtype`, with i8 also a factor for each of their rows; embedding, norms and biases of
// distances in f32. Throws Error(kUsage) for other types.
FolderFile t5_weights(const T5Source& source, DType dtype);
FolderFile t5_tokenizer(const T5Source& source);

}  // namespace nextscale
