// SPDX-License-Identifier: Apache-2.0
// The packed weights of an Infinity model that makes pictures of one size, and how much memory they
// and a run take.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "blocks/adaptive_norm.h"
#include "blocks/bsq_quantizer.h"
#include "blocks/transformer_block.h"
#include "blocks/vae_decoder.h"
#include "models/infinity/config.h"
#include "models/infinity/picture_size.h"
#include "models/infinity/text_reader.h"
#include "models/model.h"

namespace nextscale {

// A model, and the picture it makes.
struct InfinitySetting {
  InfinityConfig config;
  InfinityPicture picture;
  Geometry geometry;
};

struct InfinityLayers {
  InfinityLayers(const Context& context, const InfinitySetting& setting, const RunTypes& types,
                 const std::filesystem::path& folder);

  InfinitySetting setting;
  RunTypes types;
  std::vector<TransformerBlock> blocks;
  std::unique_ptr<BlockModulations> modulations;
  std::unique_ptr<ModulatedHead> head;
  std::unique_ptr<TextReader> text;
  std::unique_ptr<kernels::Linear> word_embed;
  std::vector<float> start_position;  // [width]
  std::vector<float> levels;          // [scales the model knows, width]
  std::unique_ptr<BsqQuantizer> quantizer;
  std::unique_ptr<VaeDecoder> decoder;
  size_t loaded_bytes = 0;
};

AdaptiveNormShape infinity_norm_shape(const InfinityConfig& config);
HeadShape infinity_head_shape(const InfinityConfig& config);
BlockShape infinity_block_shape(const InfinityConfig& config, DType compute);
DecoderShape infinity_decoder_shape(const InfinitySetting& setting, size_t strip_bytes);
BsqShape infinity_quantizer_shape(const InfinitySetting& setting);

// Conditional rows, and as many unconditional ones where there is guidance.
inline int64_t infinity_rows(const Batch& batch) {
  return batch.guidance.is_any() ? 2 * batch.images() : batch.images();
}

// Text tokens of all rows. Without a negative text a row is as long as its prompt.
int64_t infinity_text_tokens(const Batch& batch);

ModelMemory infinity_memory(const Context& context, const InfinitySetting& setting,
                            const Batch& batch, const RunTypes& types, size_t attention_bytes);

std::unique_ptr<ScaleModel> load_infinity(const Context& context, const InfinitySetting& setting,
                                          const RunTypes& types,
                                          const std::filesystem::path& folder);

}  // namespace nextscale
