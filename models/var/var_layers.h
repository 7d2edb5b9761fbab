// SPDX-License-Identifier: Apache-2.0
// The packed weights of a VAR model, and how much memory they and a run take.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "blocks/adaptive_norm.h"
#include "blocks/transformer_block.h"
#include "blocks/vae_decoder.h"
#include "blocks/vq_quantizer.h"
#include "models/model.h"
#include "models/var/config.h"

namespace nextscale {

struct VarLayers {
  VarLayers(const Context& context, const VarConfig& config, const RunTypes& types,
            const std::filesystem::path& folder);

  VarConfig config;
  RunTypes types;
  std::vector<TransformerBlock> blocks;
  std::unique_ptr<BlockModulations> modulations;
  std::unique_ptr<ModulatedHead> head;
  std::unique_ptr<kernels::Linear> word_embed;
  std::vector<float> class_vectors;    // [classes + 1, width]; the last one means "no class"
  std::vector<float> start_positions;  // [tokens of scale 0, width]
  std::vector<float> positions;        // [all tokens, width]: absolute plus scale embedding
  std::unique_ptr<VqQuantizer> quantizer;
  std::unique_ptr<VaeDecoder> decoder;
  size_t loaded_bytes = 0;
};

AdaptiveNormShape var_norm_shape(const VarConfig& config, DType compute);
HeadShape var_head_shape(const VarConfig& config, DType compute);
BlockShape var_block_shape(const VarConfig& config, DType compute);
float var_softmax_scale(const VarConfig& config);
DecoderShape var_decoder_shape(const VarConfig& config, size_t strip_bytes);
QuantizerShape var_quantizer_shape(const VarConfig& config);

// Conditional rows, and as many unconditional ones where there is guidance.
inline int64_t var_rows(const Batch& batch) {
  return batch.guidance.is_any() || batch.keep_all_rows ? 2 * batch.images() : batch.images();
}

ModelMemory var_memory(const Context& context, const VarConfig& config, const Geometry& geometry,
                       const Batch& batch, const RunTypes& types, size_t attention_bytes);

std::unique_ptr<ScaleModel> load_var(const Context& context, const VarConfig& config,
                                     const Geometry& geometry, const RunTypes& types,
                                     const std::filesystem::path& folder);

}  // namespace nextscale
