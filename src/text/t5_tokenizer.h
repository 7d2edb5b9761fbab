// SPDX-License-Identifier: Apache-2.0
// Prompt → ids for T5 encoders, as the fast tokenizer of T5 does it: the special tokens `<pad>`,
// `</s>`, `<unk>` and `<extra_id_0>` to `<extra_id_99>` are recognised where they stand in the
// text, what lies between them goes through the sentencepiece model, and `</s>` closes the list. No
// padding: positions that nobody attends are left out. One difference is known: a combining mark
// behind a character that the model's map replaces is kept, where the fast tokenizer drops it.
//
//   const T5Tokenizer tokenizer("spiece.model");
//   const T5Tokens tokens = tokenizer.encode("a cat");  // tokens.ids ends with 1
//
// Const calls are thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "text/sentencepiece_model.h"

namespace nextscale {

struct T5Tokens {
  std::vector<int32_t> ids;  // at least the closing one
  int64_t num_dropped = 0;   // ids that the prompt had beyond the longest list
  // What to tell people if something was dropped, else empty.
  std::string note() const;
};

class T5Tokenizer {
 public:
  // Ids of the longest list, the closing one included: what Infinity's encoder was trained with.
  static constexpr int64_t kMaxTokens = 512;
  static constexpr int64_t kNumExtraIds = 100;
  // Longer prompts are a mistake, not a description.
  static constexpr size_t kMaxPromptBytes = size_t{1} << 20;

  // Throws Error: kNotFound, kIo, kBadFile, kMismatch (a sentencepiece model, but not T5's).
  explicit T5Tokenizer(const std::filesystem::path& model);
  // The same for a file in memory; messages call it `name`.
  T5Tokenizer(std::string_view bytes, std::string_view name);

  // Throws Error(kUsage) for invalid UTF-8 (saying where) and for texts above kMaxPromptBytes.
  T5Tokens encode(std::string_view prompt, int64_t max_tokens = kMaxTokens) const;

  // One more than the largest id.
  int64_t vocabulary() const { return model_.num_pieces() + kNumExtraIds; }

 private:
  explicit T5Tokenizer(SentencePieceModel model, std::string_view name);

  SentencePieceModel model_;
};

}  // namespace nextscale
