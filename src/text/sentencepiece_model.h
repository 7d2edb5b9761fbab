// SPDX-License-Identifier: Apache-2.0
// A sentencepiece model (spiece.model): text → piece ids. The file may be hostile: the one table
// that the sentencepiece library follows without looking, the character map, is checked here
// before the library sees it.
//
// Owns the library's processor. Const calls are thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace nextscale {

class SentencePieceModel {
 public:
  // Throws Error: kNotFound, kIo, kBadFile (damaged, or no sentencepiece model).
  explicit SentencePieceModel(const std::filesystem::path& path);
  // The same for a file in memory; messages call it `name`.
  SentencePieceModel(std::string_view bytes, std::string_view name);
  ~SentencePieceModel();
  SentencePieceModel(SentencePieceModel&&) noexcept;
  SentencePieceModel& operator=(SentencePieceModel&&) noexcept;

  int64_t num_pieces() const;
  // Ids with a meaning of their own, -1 where the model has none.
  int32_t pad_id() const;
  int32_t end_id() const;
  int32_t unknown_id() const;

  // Appends the ids of a text, which must be well-formed UTF-8.
  void encode(std::string_view text, std::vector<int32_t>& ids) const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace nextscale
