// SPDX-License-Identifier: Apache-2.0
// Where generated pictures go: one file, a grid in one file, or files in a folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/recipe.h"
#include "nextscale/engine.h"

namespace nextscale::cli {

// The folder that `path` means, made if it does not exist. Throws Error if pictures could not be
// written there, kUsage if it is no folder and does not end in '/'.
std::filesystem::path picture_folder(const std::string& path);

class PictureOutput {
 public:
  // `path` is a folder if it exists as one or ends in '/', else a PNG file. Throws Error if
  // pictures could not be written there.
  PictureOutput(const std::string& path, int64_t num_images, int64_t columns);

  // Writes the picture, or keeps it for the grid.
  void add(GeneratedImage image);
  // Writes the grid, if there is one, with one recipe for all. Returns what was written.
  const std::vector<std::filesystem::path>& finish();

 private:
  void write(const std::filesystem::path& path, const Image& image,
             const std::vector<ImageText>& texts);

  std::filesystem::path path_;
  bool folder_;
  int64_t num_images_;
  int64_t columns_;
  std::vector<GeneratedImage> grid_;
  std::vector<std::filesystem::path> written_;
};

}  // namespace nextscale::cli
