// SPDX-License-Identifier: Apache-2.0
// The packed weights of a VAR model, and how much memory they and a run take.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "blocks/transformer_block.h"
#include "blocks/vae_decoder.h"
#include "blocks/vq_quantizer.h"
#include "models/model.h"
#include "models/var/config.h"

namespace nextscale {

// Vectors that modulate one block, in this order, each as wide as the model.
enum VarModulation { kGamma1, kGamma2, kScale1, kScale2, kShift1, kShift2, kNumModulations };

// Vectors that modulate the head.
enum VarHeadModulation { kHeadScale, kHeadShift, kNumHeadModulations };

struct VarLayers {
  VarLayers(const Context& context, const VarConfig& config, const RunTypes& types,
            const std::filesystem::path& folder);

  VarConfig config;
  RunTypes types;
  std::vector<TransformerBlock> blocks;
  // silu(class vector) to modulation vectors: one product per block, or one shared by all, to which
  // each block adds a constant [kNumModulations, width].
  std::vector<std::unique_ptr<kernels::Linear>> modulations;
  std::vector<std::vector<float>> modulation_constants;
  std::unique_ptr<kernels::Linear> head_modulation;
  std::unique_ptr<kernels::Linear> head;
  std::unique_ptr<kernels::Linear> word_embed;
  std::vector<float> class_vectors;    // [classes + 1, width]; the last one means "no class"
  std::vector<float> start_positions;  // [tokens of scale 0, width]
  std::vector<float> positions;        // [all tokens, width]: absolute plus scale embedding
  std::unique_ptr<VqQuantizer> quantizer;
  std::unique_ptr<VaeDecoder> decoder;
  size_t loaded_bytes = 0;
};

float var_softmax_scale(const VarConfig& config);
DecoderShape var_decoder_shape(const VarConfig& config, size_t strip_bytes);
QuantizerShape var_quantizer_shape(const VarConfig& config);

// Conditional rows, and as many unconditional ones where there is guidance.
inline int64_t var_rows(const Batch& batch) {
  return batch.cfg != 0.0F || batch.keep_all_rows ? 2 * batch.images() : batch.images();
}

ModelMemory var_memory(const Context& context, const VarConfig& config, const Geometry& geometry,
                       const Batch& batch, const RunTypes& types, size_t attention_bytes);

std::unique_ptr<ScaleModel> load_var(const Context& context, const VarConfig& config,
                                     const Geometry& geometry, const RunTypes& types,
                                     const std::filesystem::path& folder);

}  // namespace nextscale
