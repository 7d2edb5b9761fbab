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

// One recipe for all pictures of a grid: they differ in what they show and in number only.
Recipe grid_recipe(const std::vector<GeneratedImage>& images) {
  Recipe recipe = *find_recipe(images.front().texts);
  recipe.classes.clear();
  recipe.prompts.clear();
  recipe.images_each = 0;
  int64_t subject = -1;
  for (const GeneratedImage& image : images) {
    if (image.subject == 0) ++recipe.images_each;
    if (image.subject == subject) continue;
    subject = image.subject;
    const Recipe own = *find_recipe(image.texts);
    recipe.classes.insert(recipe.classes.end(), own.classes.begin(), own.classes.end());
    recipe.prompts.insert(recipe.prompts.end(), own.prompts.begin(), own.prompts.end());
  }
  return recipe;
}

bool is_folder(const std::string& path) { return path.ends_with('/') || fs::is_directory(path); }

void require_writable(const fs::path& folder) {
  if (access(folder.c_str(), W_OK | X_OK) == 0) return;
  fail(ErrorCode::kIo, "-o: cannot write to {}; wanted an existing folder that may be written",
       folder.string());
}

}  // namespace

fs::path picture_folder(const std::string& path) {
  if (!is_folder(path)) {
    fail(ErrorCode::kUsage, "-o: got '{}', wanted a folder, ending in /", printable(path));
  }
  std::error_code error;
  fs::create_directories(path, error);
  require_writable(path);
  return path;
}

PictureOutput::PictureOutput(const std::string& path, int64_t num_images, int64_t columns)
    : path_(path), folder_(is_folder(path)), num_images_(num_images), columns_(columns) {
  if (folder_) {
    picture_folder(path);
  } else {
    require_writable(path_.has_parent_path() ? path_.parent_path() : ".");
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
  // Classes have a number of their own; what else is shown is counted.
  const bool is_class = !find_recipe(image.texts)->classes.empty();
  const int64_t subject = is_class ? image.class_index : image.subject;
  const fs::path file =
      folder_ ? path_ / fmt::format("{:04}_{:06}.png", subject, image.image_index) : path_;
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
