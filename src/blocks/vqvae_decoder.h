// SPDX-License-Identifier: Apache-2.0
// The VQVAE decoder of VAR and HART: latent to picture (specs/var.md section 7), always in f32.
//
// Activations are channels-last and live in two buffers of the largest size; convolutions run over
// strips of rows, so that their inputs (normalised, activated, doubled on the way in) and their
// working memory stay small. The strip height is the caller's: the plan lowers it when memory is
// short. It does not change the result. Owns its packed weights; one thread decodes at a time.
#pragma once

#include <memory>
#include <vector>

#include "blocks/weight_loader.h"
#include "core/context.h"

namespace nextscale {

struct DecoderShape {
  int64_t latent_side = 0;
  int64_t latent_channels = 0;
  int64_t base_channels = 0;
  std::vector<int64_t> multipliers;  // of base_channels, finest level first: 1, 1, 2, 2, 4
  int64_t blocks_per_level = 0;      // 3: one more than the encoder's
  // Memory for one strip's input and output, in bytes. A strip has at least one row.
  size_t strip_bytes = 0;

  int num_levels() const { return static_cast<int>(multipliers.size()); }
  int64_t level_channels(int level) const {
    return base_channels * multipliers[static_cast<size_t>(level)];
  }
  int64_t level_side(int level) const { return latent_side << (num_levels() - 1 - level); }
  int64_t image_side() const { return level_side(0); }
};

// What a decoder holds, and takes from context.scratch while it decodes.
struct DecoderBytes {
  size_t weights = 0;
  size_t scratch = 0;
};

class VqvaeDecoder {
 public:
  VqvaeDecoder(const DecoderShape& shape, WeightLoader& loader);
  ~VqvaeDecoder();

  // latent [side, side, latent_channels] to rgb [image side, image side, 3] in [0, 1]. Throws
  // Error(kCancelled) between stages.
  void decode(const Context& context, const float* latent, float* rgb) const;

  static DecoderBytes bytes(const Context& context, const DecoderShape& shape);

  const DecoderShape& shape() const { return shape_; }

 private:
  struct Layers;
  class Pass;

  DecoderShape shape_;
  std::unique_ptr<Layers> layers_;
};

}  // namespace nextscale
