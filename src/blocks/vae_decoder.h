// SPDX-License-Identifier: Apache-2.0
// The decoders of pictures, always in f32: that of VAR and HART (a VQGAN with attention at its
// coarsest level; specs/var.md section 7) and that of Infinity and its kin (none; specs/infinity.md
// section 10).
//
// Activations are channels-last. Convolutions run over strips of rows, so that their inputs
// (normalised, activated, doubled on the way in) and their working memory stay small. Whole maps
// are held where they fit into a fixed number of bytes; where they would not, in the finest levels
// of large pictures, a map is computed again, strip by strip, each time that it is read: once for
// the statistics of every normalisation, and once for good. The strip height is the caller's: the
// plan lowers it when memory is short. It does not change the result. Owns its packed weights; one
// thread decodes at a time.
#pragma once

#include <memory>
#include <vector>

#include "blocks/weight_loader.h"
#include "core/context.h"
#include "core/geometry.h"

namespace nextscale {

struct VaeLayers;

enum class DecoderKind {
  kVqgan,  // starts with post_quant_conv; attention in the middle and at the coarsest level
  kPlain,  // convolutions only
};

struct DecoderShape {
  DecoderKind kind = DecoderKind::kVqgan;
  Grid latent;
  int64_t latent_channels = 0;
  int64_t base_channels = 0;
  // Of base_channels, finest level first and ascending: 1, 1, 2, 2, 4. The channels of every level
  // are a multiple of 32 or of 24, which is the number of groups that are normalised.
  std::vector<int64_t> multipliers;
  int64_t blocks_per_level = 0;  // one more than the encoder's
  // Memory for one strip's input and output, in bytes. A strip has at least one row.
  size_t strip_bytes = 0;
  // Maps are held only if no more than this is taken by them.
  size_t map_bytes = kMapBytes;

  // Pictures of half a megapixel of every published model are decoded without computing anything
  // twice, those of a megapixel in less than 1 GiB.
  static constexpr size_t kMapBytes = size_t{832} << 20;

  int num_levels() const { return static_cast<int>(multipliers.size()); }
  int64_t level_channels(int level) const {
    return base_channels * multipliers[static_cast<size_t>(level)];
  }
  Grid level_size(int level) const {
    const int doublings = num_levels() - 1 - level;
    return {latent.height << doublings, latent.width << doublings};
  }
  Grid image_size() const { return level_size(0); }
};

// What a decoder holds, and takes from context.scratch while it decodes.
struct DecoderBytes {
  size_t weights = 0;
  size_t scratch = 0;
};

class VaeDecoder {
 public:
  VaeDecoder(const DecoderShape& shape, WeightLoader& loader);
  ~VaeDecoder();

  // latent [height, width, latent_channels] to rgb [image height, image width, 3] in [0, 1]. Throws
  // Error(kCancelled) between stages.
  void decode(const Context& context, const float* latent, float* rgb) const;

  static DecoderBytes bytes(const Context& context, const DecoderShape& shape);

  const DecoderShape& shape() const { return shape_; }

 private:
  class Pass;

  DecoderShape shape_;
  std::unique_ptr<VaeLayers> layers_;
};

}  // namespace nextscale
