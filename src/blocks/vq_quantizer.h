// SPDX-License-Identifier: Apache-2.0
// The multi-scale residual vector quantizer of VAR and HART, generation side: tokens of a scale to
// their share of the latent f_hat, and f_hat to the next scale's input (specs/var.md section 6).
//
// Latents are channels-last [side, side, channels] f32. Owns codebook and convolutions; const after
// construction, but its convolutions run from one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "blocks/weight_loader.h"
#include "core/context.h"
#include "kernels/kernels.h"

namespace nextscale {

// Which of `num_convs` shared residual convolutions scale k of S uses; the higher index wins ties.
int phi_index(int scale, int num_scales, int num_convs);

struct QuantizerShape {
  std::vector<int64_t> sides;  // p_k of every scale; the last one is the latent's side
  int64_t vocabulary = 0;
  int64_t channels = 0;
  int num_convs = 0;

  int64_t latent_side() const { return sides.back(); }
  size_t latent_size() const {
    return static_cast<size_t>(latent_side() * latent_side() * channels);
  }
};

class VqQuantizer {
 public:
  VqQuantizer(const QuantizerShape& shape, WeightLoader& loader);

  // What a scale's tokens contribute, given their embeddings [p_k, p_k, channels]: added to f_hat.
  void add_scale(const Context& context, int scale, const float* embeddings, float* f_hat) const;

  // The embeddings of tokens, and of mixtures of tokens with weights [tokens, vocabulary].
  void embed(const int32_t* tokens, int64_t count, float* out) const;
  void embed_mixture(const Context& context, const float* weights, int64_t count, float* out) const;

  // f_hat averaged down to the grid of `scale`: out [p, p, channels].
  void next_input(const Context& context, int scale, const float* f_hat, float* out) const;

  const QuantizerShape& shape() const { return shape_; }
  // What a quantizer of this shape holds, and takes from context.scratch while it works.
  static kernels::ConvBytes bytes(const Context& context, const QuantizerShape& shape);

 private:
  struct Matrices {
    std::vector<float> up;    // [latent side, p], bicubic
    std::vector<float> down;  // [p, latent side], area
  };

  QuantizerShape shape_;
  std::vector<float> codebook_;  // [vocabulary, channels]
  std::vector<std::unique_ptr<kernels::Conv>> convs_;
  std::vector<Matrices> matrices_;  // per scale
};

}  // namespace nextscale
