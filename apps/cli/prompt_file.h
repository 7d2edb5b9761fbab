// SPDX-License-Identifier: Apache-2.0
// Prompts in a file: JSON lines, or in a .txt one prompt a line (docs/formats.md). Lines without
// text are passed over. Read as a stream, so that a file may have any number of lines; nothing is
// kept. Not thread safe.
//
//   PromptFile file("prompts.jsonl");
//   while (const std::optional<FilePrompt> each = file.next()) { ... }
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "line_reader.h"
#include "nextscale/engine.h"

namespace nextscale::cli {

// A recipe holds the prompt and what it shall not show; both fit into a picture's text, however
// their characters are written there.
inline constexpr size_t kMaxPromptBytes = size_t{64} << 10;

struct FilePrompt {
  int64_t line = 0;  // of the file, from 1
  Prompt prompt{};
  std::optional<uint64_t> seed{};   // of its pictures
  std::optional<int64_t> images{};  // how many
  std::string name{};               // of its pictures' files; empty: the line's number

  // "000007", or the name.
  std::string stem() const;

  bool operator==(const FilePrompt&) const = default;
};

enum class PromptForm { kJsonLines, kPlainLines };

// By the file's ending. Throws Error(kUsage) for others than .jsonl and .txt.
PromptForm prompt_form(const std::filesystem::path& path);

class PromptFile {
 public:
  // Throws Error: kNotFound, kUsage (no regular file), kIo, and as prompt_form() does.
  explicit PromptFile(const std::filesystem::path& path) : PromptFile(path, prompt_form(path)) {}
  PromptFile(const std::filesystem::path& path, PromptForm form);

  // The next prompt; nothing at the end. Throws Error: kBadFile saying what is wrong in which line,
  // kIo.
  std::optional<FilePrompt> next();

 private:
  FilePrompt parse() const;
  FilePrompt parse_json_line() const;

  LineReader lines_;
  PromptForm form_;
};

struct PromptCounts {
  int64_t prompts = 0;
  int64_t images = 0;
};

// Reads the whole file; prompts that do not say get `images_each` pictures. Memory: a hundred bytes
// a line. Throws as PromptFile does, and Error(kBadFile) for a file without a prompt or two prompts
// whose pictures would have the same name.
PromptCounts check_prompts(const std::filesystem::path& path, int64_t images_each);

// "prompt" and "negative" of the first `at_most` prompts, for commands to which the rest does not
// matter; the whole file is checked. Throws as check_prompts() does.
std::vector<Prompt> read_prompts(const std::filesystem::path& path, int64_t at_most,
                                 const std::optional<std::string>& negative);

}  // namespace nextscale::cli
