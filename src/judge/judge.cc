// SPDX-License-Identifier: Apache-2.0
#include "judge/judge.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "blocks/weight_loader.h"
#include "core/error_format.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

constexpr int64_t kPictureChannels = 3;

// ReLU of [side, side, width] into the rows of `out`, which are as wide.
void rectify(const float* x, int64_t side, int64_t width, float* out) {
  const int64_t count = side * side * width;
  for (int64_t index = 0; index < count; ++index) out[index] = std::max(x[index], 0.0F);
}

// ReLU and the maximum of 2x2 cells: [side, side, width] to [side / 2, side / 2, width].
void rectify_and_pool(const float* x, int64_t side, int64_t width, float* out) {
  const int64_t row_floats = side * width;
  for (int64_t row = 0; row < side; row += 2) {
    for (int64_t column = 0; column < side; column += 2) {
      const float* corner = x + row * row_floats + column * width;
      for (int64_t channel = 0; channel < width; ++channel) {
        const float above = std::max(corner[channel], corner[channel + width]);
        const float below =
            std::max(corner[channel + row_floats], corner[channel + row_floats + width]);
        *out++ = std::max({above, below, 0.0F});
      }
    }
  }
}

float sigmoid(float score) { return 1.0F / (1.0F + std::exp(-score)); }

// The best class of every cell.
struct CellMap {
  std::vector<float> scores;  // probabilities
  std::vector<int64_t> classes;
};

CellMap best_of_cells(const float* heat, int64_t cells, int64_t num_classes) {
  CellMap map;
  for (int64_t cell = 0; cell < cells * cells; ++cell, heat += num_classes) {
    const float* best = std::max_element(heat, heat + num_classes);
    map.scores.push_back(sigmoid(*best));
    map.classes.push_back(best - heat);
  }
  return map;
}

bool is_peak(const std::vector<float>& scores, int64_t cells, int64_t row, int64_t column) {
  const float own = scores[static_cast<size_t>(row * cells + column)];
  for (int64_t y = std::max<int64_t>(0, row - 1); y < std::min(cells, row + 2); ++y) {
    for (int64_t x = std::max<int64_t>(0, column - 1); x < std::min(cells, column + 2); ++x) {
      if (scores[static_cast<size_t>(y * cells + x)] > own) return false;
    }
  }
  return true;
}

}  // namespace

void shrink_areas(const Image& image, int64_t side, float* out) {
  constexpr float kWhite = 255.0F;
  const auto first = [side](int64_t at, int64_t size) { return at * size / side; };
  const auto end = [side](int64_t at, int64_t size) { return ((at + 1) * size + side - 1) / side; };
  for (int64_t row = 0; row < side; ++row) {
    for (int64_t column = 0; column < side; ++column) {
      int64_t sums[kPictureChannels] = {};
      for (int64_t y = first(row, image.height); y < end(row, image.height); ++y) {
        for (int64_t x = first(column, image.width); x < end(column, image.width); ++x) {
          const uint8_t* pixel = image.rgb.data() + (y * image.width + x) * kPictureChannels;
          for (int64_t channel = 0; channel < kPictureChannels; ++channel) {
            sums[channel] += pixel[channel];
          }
        }
      }
      const int64_t area = (end(row, image.height) - first(row, image.height)) *
                           (end(column, image.width) - first(column, image.width));
      for (const int64_t sum : sums) {
        *out++ = static_cast<float>(sum) / (kWhite * static_cast<float>(area));
      }
    }
  }
}

std::vector<SeenSprite> find_sprites(const float* heat, int64_t cells, int64_t num_classes,
                                     float threshold) {
  const CellMap map = best_of_cells(heat, cells, num_classes);
  std::vector<SeenSprite> sprites;
  for (int64_t row = 0; row < cells; ++row) {
    for (int64_t column = 0; column < cells; ++column) {
      const auto cell = static_cast<size_t>(row * cells + column);
      if (map.scores[cell] <= threshold || !is_peak(map.scores, cells, row, column)) continue;
      const auto place = [cells](int64_t at) {
        return (static_cast<float>(at) + 0.5F) / static_cast<float>(cells);
      };
      sprites.push_back({.class_index = map.classes[cell],
                         .x = place(column),
                         .y = place(row),
                         .score = map.scores[cell]});
    }
  }
  std::ranges::stable_sort(sprites, std::greater<>(), &SeenSprite::score);
  return sprites;
}

int64_t SeenPicture::color() const {
  return std::ranges::max_element(color_scores) - color_scores.begin();
}

Judge::Judge(const std::filesystem::path& path, int threads, const kernels::KernelTable& kernels) {
  const SafetensorsFile file(path);
  config_ = read_judge_config(file);
  context_.num_threads = threads > 0 ? threads : available_threads();
  context_.kernels = &kernels;
  WeightLoader loader(context_, file);
  load_trunk(loader);
  load_heads(loader);
  size_t scratch_bytes = heat_->scratch_bytes(config_.cells());
  for (const Layer& layer : layers_) {
    scratch_bytes = std::max(scratch_bytes, layer.conv->scratch_bytes(layer.side));
  }
  scratch_ = Arena(scratch_bytes, "the judge's convolutions");
  context_.scratch = &scratch_;
}

void Judge::load_trunk(WeightLoader& loader) {
  int64_t side = config_.side;
  int64_t channels = kPictureChannels;
  int64_t most_outputs = 0;
  for (size_t number = 0; number < config_.widths.size(); ++number) {
    const int64_t width = config_.widths[number];
    Layer layer{.side = side,
                .width = width,
                .is_pooled = config_.pools[number],
                .conv = loader.conv(
                    fmt::format("trunk.{}", number),
                    {.in_channels = channels, .out_channels = width, .kernel = 3, .width = side}),
                .input = Tensor::zeros(DType::kF32, {side + 2, side, channels})};
    layer.conv->prepare(side);
    most_outputs = std::max(most_outputs, side * side * width);
    if (layer.is_pooled) side /= 2;
    channels = width;
    layers_.push_back(std::move(layer));
  }
  output_ = Tensor(DType::kF32, {most_outputs});
  trunk_ = Tensor(DType::kF32, {side, side, channels});
}

void Judge::load_heads(WeightLoader& loader) {
  const int64_t cells = config_.cells();
  const int64_t features = config_.num_features();
  const auto num_classes = static_cast<int64_t>(labels().classes.size());
  const auto num_colors = static_cast<int64_t>(labels().colors.size());
  heat_ = loader.conv(
      "heatmap",
      {.in_channels = features, .out_channels = num_classes, .kernel = 1, .width = cells});
  heat_->prepare(cells);
  heatmap_ = Tensor(DType::kF32, {cells, cells, num_classes});
  color_weight_ = loader.values("color.weight", {num_colors, features});
  color_bias_ = loader.values("color.bias", {num_colors});
}

void Judge::run_trunk() {
  for (size_t number = 0; number < layers_.size(); ++number) {
    const Layer& layer = layers_[number];
    layer.conv->run(context_, layer.input.as<float>(), output_.as<float>(), layer.side);
    const int64_t side = layer.is_pooled ? layer.side / 2 : layer.side;
    const bool is_last = number + 1 == layers_.size();
    // Behind the row of zeros.
    float* out =
        is_last ? trunk_.as<float>() : layers_[number + 1].input.as<float>() + side * layer.width;
    const auto finish = layer.is_pooled ? rectify_and_pool : rectify;
    finish(output_.as<float>(), layer.side, layer.width, out);
  }
}

void Judge::read_features(SeenPicture& seen) const {
  const auto num_features = static_cast<size_t>(config_.num_features());
  const int64_t num_cells = config_.cells() * config_.cells();
  std::vector<double> sums(num_features, 0.0);
  const float* cell = trunk_.as<float>();
  for (int64_t number = 0; number < num_cells; ++number, cell += num_features) {
    for (size_t channel = 0; channel < num_features; ++channel) sums[channel] += cell[channel];
  }
  for (const double sum : sums) {
    seen.features.push_back(static_cast<float>(sum / static_cast<double>(num_cells)));
  }
  const float* weight = color_weight_.data();
  for (const float bias : color_bias_) {
    double score = bias;
    for (const float feature : seen.features) score += static_cast<double>(feature) * *weight++;
    seen.color_scores.push_back(static_cast<float>(score));
  }
}

SeenPicture Judge::look(const Image& image) {
  if (image.width < 1 || image.height < 1) {
    fail(ErrorCode::kUsage, "judge: got a picture of {}x{} pixels, wanted one with pixels",
         image.width, image.height);
  }
  Layer& first = layers_.front();
  shrink_areas(image, config_.side, first.input.as<float>() + config_.side * kPictureChannels);
  run_trunk();
  const int64_t cells = config_.cells();
  heat_->run(context_, trunk_.as<float>(), heatmap_.as<float>(), cells);
  const float* heat = heatmap_.as<float>();
  const auto num_classes = static_cast<int64_t>(labels().classes.size());
  SeenPicture seen{.sprites = find_sprites(heat, cells, num_classes, config_.threshold),
                   .class_scores = std::vector<float>(heat, heat + num_classes),
                   .color_scores = {},
                   .features = {}};
  for (int64_t score = num_classes; score < cells * cells * num_classes; ++score) {
    float& best = seen.class_scores[static_cast<size_t>(score % num_classes)];
    best = std::max(best, heat[score]);
  }
  read_features(seen);
  return seen;
}

}  // namespace nextscale
