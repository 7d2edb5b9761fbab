// SPDX-License-Identifier: Apache-2.0
// Prompts → features, for model folders that hold a text encoder: tokenizer, cache on disk if one
// is wanted, and the encoder for what the cache lacks. After encode() nothing of the encoder is in
// memory (t5_encoder.h).
//
//   const PromptEncoder encoder(folder, {.compute = DType::kBF16});
//   EncodedPrompts encoded = encoder.encode(context, prompts);
//
// Owns the tokenizer. One encode() at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/text/t5_encoder.h"
#include "text/feature_cache.h"
#include "text/t5_tokenizer.h"
#include "weights/model_folder.h"

namespace nextscale {

struct PromptEncoderOptions {
  DType compute = DType::kF32;                   // of the products: f32 or bf16
  std::filesystem::path cache = {};              // folder of features; empty: none
  int64_t max_tokens = T5Tokenizer::kMaxTokens;  // longer prompts are cut
};

struct EncodedPrompts {
  std::vector<Tensor> features;    // [tokens, channels] f32 of each prompt
  std::vector<std::string> notes;  // for people: prompts that were cut, damaged cache entries
};

class PromptEncoder {
 public:
  // Throws Error: kMismatch (the folder has no text encoder), kBadFile (damaged), kIo.
  PromptEncoder(const ModelFolder& folder, const PromptEncoderOptions& options);

  // True if config.json of this folder describes a text encoder.
  static bool is_in(const ModelFolder& folder);

  // Equal prompts are encoded once. Throws as T5Tokenizer::encode() and T5Encoder::encode() do;
  // messages about one of several prompts say which.
  EncodedPrompts encode(const Context& context, std::span<const std::string> prompts) const;

  // Tokens of each prompt. Throws as T5Tokenizer::encode() does.
  std::vector<int64_t> lengths(std::span<const std::string> prompts) const;
  // What encode() will take at its largest for prompts of these lengths, none in the cache.
  T5Memory memory(const Context& context, std::span<const int64_t> lengths) const;

  int64_t channels() const { return encoder_.config().width; }

 private:
  std::vector<T5Tokens> tokenize(std::span<const std::string> prompts) const;

  T5Encoder encoder_;
  T5Tokenizer tokenizer_;
  int64_t max_tokens_;
  std::unique_ptr<FeatureCache> cache_;  // null: none
};

}  // namespace nextscale
