// SPDX-License-Identifier: Apache-2.0
// What is left to do of a file of prompts, in groups that one request can make each. Reads the file
// as it goes; borrows the manifest. Not thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "manifest.h"
#include "prompt_file.h"

namespace nextscale::cli {

// What holds for prompts that do not say otherwise.
struct PromptDefaults {
  std::optional<std::string> negative{};
  uint64_t seed = 0;
  int64_t images_each = 1;
  int64_t first_image = 0;
};

// Consecutive pictures of one prompt.
struct PictureRun {
  FilePrompt source;  // defaults filled in
  int64_t first_image = 0;
  int64_t images = 0;

  PictureKey key(int64_t image) const;
};

class PendingPictures {
 public:
  PendingPictures(const std::filesystem::path& prompts, PromptDefaults defaults,
                  const Manifest& manifest)
      : file_(prompts), defaults_(std::move(defaults)), manifest_(manifest) {}

  // The next runs, which agree in seed and numbers of images; empty at the end. Throws as
  // PromptFile::next() and Manifest::has() do.
  std::vector<PictureRun> next_group();

 private:
  const PictureRun* peek();

  PromptFile file_;
  PromptDefaults defaults_;
  const Manifest& manifest_;
  std::vector<PictureRun> runs_;  // of the last prompt that was read
  size_t num_taken_ = 0;          // of these
};

// Pictures that next_group() will give in all.
int64_t count_pending(PendingPictures pending);

}  // namespace nextscale::cli
