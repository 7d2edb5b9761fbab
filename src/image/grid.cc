// SPDX-License-Identifier: Apache-2.0
#include "image/grid.h"

#include <algorithm>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr int64_t kChannels = 3;

int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

void require_composable(std::span<const Image> images, const GridOptions& options) {
  if (images.empty()) fail(ErrorCode::kUsage, "grid: got no picture, wanted at least one");
  if (options.columns < 0 || options.padding < 0) {
    fail(ErrorCode::kUsage, "grid: got {} columns and padding {}, wanted neither below 0",
         options.columns, options.padding);
  }
  const Image& first = images.front();
  for (const Image& image : images) {
    if (image.width == first.width && image.height == first.height) continue;
    fail(ErrorCode::kMismatch, "grid: got pictures of {}x{} and {}x{}, wanted one size",
         first.width, first.height, image.width, image.height);
  }
}

void copy_rows(const Image& image, int64_t left, int64_t top, Image& canvas) {
  const int64_t row_bytes = image.width * kChannels;
  for (int64_t row = 0; row < image.height; ++row) {
    const auto source = image.rgb.begin() + row * row_bytes;
    const int64_t target = ((top + row) * canvas.width + left) * kChannels;
    std::copy(source, source + row_bytes, canvas.rgb.begin() + target);
  }
}

}  // namespace

int64_t near_square_columns(int64_t count) {
  int64_t square = 1;
  while (square * square < count) ++square;
  for (int64_t columns = square; columns <= 2 * divide_up(count, columns); ++columns) {
    if (count % columns == 0) return columns;
  }
  return square;
}

Image compose_grid(std::span<const Image> images, const GridOptions& options) {
  require_composable(images, options);
  const int64_t count = static_cast<int64_t>(images.size());
  const int64_t columns =
      options.columns > 0 ? std::min(options.columns, count) : near_square_columns(count);
  const int64_t cell_width = images.front().width + options.padding;
  const int64_t cell_height = images.front().height + options.padding;
  Image canvas{columns * cell_width + options.padding,
               divide_up(count, columns) * cell_height + options.padding,
               {}};
  canvas.rgb.assign(static_cast<size_t>(canvas.width * canvas.height * kChannels),
                    options.background);
  for (int64_t index = 0; index < count; ++index) {
    copy_rows(images[static_cast<size_t>(index)], options.padding + index % columns * cell_width,
              options.padding + index / columns * cell_height, canvas);
  }
  return canvas;
}

}  // namespace nextscale
