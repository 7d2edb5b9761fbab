// SPDX-License-Identifier: Apache-2.0
// What a picture decoder of some shape consists of, and which of its maps are held whole. Internal
// to VaeDecoder, which runs these layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blocks/strip_conv.h"
#include "blocks/vae_decoder.h"
#include "blocks/weight_loader.h"
#include "core/context.h"

namespace nextscale {

inline constexpr int64_t kImageChannels = 3;

// The weights of a decoder, packed.
struct VaeLayers {
  struct Norm {
    std::vector<float> weight;
    std::vector<float> bias;

    int64_t channels() const { return static_cast<int64_t>(weight.size()); }
    int64_t groups() const;  // of a GroupNorm
  };

  struct ResBlock {
    Norm norm1;
    StripConv conv1;
    Norm norm2;
    StripConv conv2;
    std::unique_ptr<StripConv> shortcut;  // where the number of channels changes
  };

  struct AttnBlock {
    Norm norm;
    StripConv qkv;
    StripConv proj_out;
  };

  struct Level {
    std::vector<ResBlock> blocks;
    std::vector<AttnBlock> attentions;    // one per block, or none
    std::unique_ptr<StripConv> upsample;  // none at the finest level
  };

  VaeLayers(const DecoderShape& shape, WeightLoader& loader);

  std::unique_ptr<StripConv> post_quant;  // only of a VQGAN, as the attention
  StripConv conv_in;
  ResBlock mid_block_1;
  std::unique_ptr<AttnBlock> mid_attn_1;
  ResBlock mid_block_2;
  std::vector<Level> levels;  // index = level, run from the last to 0
  Norm norm_out;
  StripConv conv_out;
};

// Bytes of so many floats in an arena.
inline size_t float_bytes(int64_t count) {
  return Arena::rounded(static_cast<size_t>(count) * sizeof(float));
}

// True if the map that a level begins with, or that lies between the convolutions of its blocks, is
// not held.
bool streams_upsample(const DecoderShape& shape, int level);
bool streams_blocks(const DecoderShape& shape, int level);

// Bytes of the maps that exist at once, at most.
size_t maps_bytes(const DecoderShape& shape);

// Bytes of all weights, packed, and of the scratch of the convolutions that work at once, at most.
DecoderBytes layers_bytes(const Context& context, const DecoderShape& shape);

}  // namespace nextscale
