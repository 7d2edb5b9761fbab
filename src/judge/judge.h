// SPDX-License-Identifier: Apache-2.0
// A judge: a small convolutional detector that says what a picture shows (training/judge.py). What
// it knows, labels and widths, comes from its file; nothing here knows a model or its classes.
//
//   Judge judge("judge.safetensors");
//   const SeenPicture seen = judge.look(image);
//   if (!seen.sprites.empty()) print(judge.labels().classes[seen.sprites[0].class_index]);
//
// Owns packed weights and activations. Not thread safe: one look() at a time; it works on the
// threads it was made with. The same picture gives the same bits, whatever their number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
#include "judge/judge_file.h"
#include "kernels/kernels.h"
#include "nextscale/image.h"

namespace nextscale {

class WeightLoader;

// A sprite that was found; places are fractions of the picture's width and height.
struct SeenSprite {
  int64_t class_index = 0;
  float x = 0;
  float y = 0;
  float score = 0;  // probability, above the judge's threshold

  bool operator==(const SeenSprite&) const = default;
};

struct SeenPicture {
  std::vector<SeenSprite> sprites;  // best first
  // Of each class, the best score of all cells, before the sigmoid: [classes].
  std::vector<float> class_scores;
  std::vector<float> color_scores;  // [colors], before the softmax
  std::vector<float> features;      // [features], mean of the trunk's end over its cells

  // The number of the background's colour.
  int64_t color() const;
};

class Judge {
 public:
  // `threads`: 0 for all cores. Throws Error as SafetensorsFile and read_judge_config() do.
  explicit Judge(const std::filesystem::path& path, int threads = 0,
                 const kernels::KernelTable& kernels = kernels::cpu_table());
  Judge(const Judge&) = delete;
  Judge& operator=(const Judge&) = delete;

  const JudgeConfig& config() const { return config_; }
  const JudgeLabels& labels() const { return config_.labels; }

  // Pictures of any size; what is not of the judge's is brought to it by averaging areas. Throws
  // Error(kUsage) for a picture without pixels.
  SeenPicture look(const Image& image);

  // Scores before the sigmoid of the picture that was looked at last: [cells, cells, classes].
  const Tensor& heatmap() const { return heatmap_; }

 private:
  // A 3x3 convolution of a square map; `input` has a row of zeros above and below it.
  struct Layer {
    int64_t side = 0;
    int64_t width = 0;  // channels of the output
    bool is_pooled = false;
    std::unique_ptr<kernels::Conv> conv;
    Tensor input;  // [side + 2, side, channels]
  };

  void load_trunk(WeightLoader& loader);
  void load_heads(WeightLoader& loader);
  void run_trunk();
  void read_features(SeenPicture& seen) const;

  JudgeConfig config_;
  Context context_;
  Arena scratch_;
  std::vector<Layer> layers_;
  Tensor output_;  // [side, side, width] of the layer with the most
  Tensor trunk_;   // [cells, cells, features]
  std::unique_ptr<kernels::Conv> heat_;
  Tensor heatmap_;
  std::vector<float> color_weight_;  // [colors, features]
  std::vector<float> color_bias_;
};

// A picture as f32 [side, side, 3] in [0, 1]: every pixel is the mean of those that its area
// touches, from floor(i * size / side) to ceil((i + 1) * size / side), as PyTorch's interpolation
// "area" takes it.
void shrink_areas(const Image& image, int64_t side, float* out);

// The sprites of a heatmap [cells, cells, classes] of scores before the sigmoid, best first: cells
// whose best probability is above the threshold and not below that of any of their eight
// neighbours.
std::vector<SeenSprite> find_sprites(const float* heat, int64_t cells, int64_t num_classes,
                                     float threshold);

}  // namespace nextscale
