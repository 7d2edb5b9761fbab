// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/error_format.h"
#include "image/grid.h"
#include "image/png.h"

namespace nextscale::cli {

namespace fs = std::filesystem;

namespace {

// A grid is held in memory until the last picture is done.
constexpr int64_t kMaxGridImages = 1000;

// One recipe for all pictures of a grid: they differ in class and number only.
Recipe grid_recipe(const std::vector<GeneratedImage>& images) {
  Recipe recipe = *find_recipe(images.front().texts);
  recipe.classes.clear();
  for (const GeneratedImage& image : images) {
    if (recipe.classes.empty() || image.image_index == recipe.first_image) {
      recipe.classes.push_back(image.class_index);
    }
  }
  recipe.images_each =
      static_cast<int64_t>(images.size() / std::max<size_t>(1, recipe.classes.size()));
  return recipe;
}

}  // namespace

PictureOutput::PictureOutput(const std::string& path, int64_t num_images, int64_t columns)
    : path_(path),
      folder_(path.ends_with('/') || fs::is_directory(path)),
      num_images_(num_images),
      columns_(columns) {
  std::error_code error;
  if (folder_) fs::create_directories(path_, error);
  const fs::path parent = folder_ ? path_ : path_.has_parent_path() ? path_.parent_path() : ".";
  if (access(parent.c_str(), W_OK | X_OK) != 0) {
    fail(ErrorCode::kIo, "-o: cannot write to {}; wanted an existing folder that may be written",
         parent.string());
  }
  if (!folder_ && path_.extension() != ".png") {
    fail(ErrorCode::kUsage, "-o: got '{}', wanted a name ending in .png, or a folder ending in /",
         printable(path));
  }
  if (!folder_ && num_images > kMaxGridImages) {
    fail(ErrorCode::kUsage,
         "-o: {} pictures are too many for one grid (at most {}); give a folder ending in /",
         num_images, kMaxGridImages);
  }
}

void PictureOutput::write(const fs::path& path, const Image& image,
                          const std::vector<ImageText>& texts) {
  write_png(path, image, texts);
  written_.push_back(path);
}

void PictureOutput::add(GeneratedImage image) {
  if (!folder_ && num_images_ > 1) {
    grid_.push_back(std::move(image));
    return;
  }
  const fs::path file =
      folder_ ? path_ / fmt::format("{:04}_{:06}.png", image.class_index, image.image_index)
              : path_;
  write(file, image.image, image.texts);
}

const std::vector<fs::path>& PictureOutput::finish() {
  if (grid_.empty()) return written_;
  const Recipe recipe = grid_recipe(grid_);
  std::vector<Image> pictures;
  for (GeneratedImage& image : grid_) pictures.push_back(std::move(image.image));
  write(path_, compose_grid(pictures, {.columns = columns_}), recipe_texts(recipe));
  return written_;
}

}  // namespace nextscale::cli
