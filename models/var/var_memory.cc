// SPDX-License-Identifier: Apache-2.0
// Memory of a VAR run, from its config alone. Mirrors what var_layers.cc packs and var_run.cc
// takes; tests hold the two to each other.
#include <algorithm>

#include "models/var/var_layers.h"

namespace nextscale {
namespace {

size_t linear_bytes(const Context& context, int64_t in, int64_t out, DType compute) {
  return context.kernels->linear_bytes(
      context, {.in_features = in, .out_features = out, .compute = compute});
}

size_t weight_bytes(const Context& context, const VarConfig& config, const Geometry& geometry,
                    const RunTypes& types) {
  const int64_t width = config.width;
  const int64_t tokens = geometry.tokens_through(geometry.num_scales() - 1);
  const int64_t vectors = config.classes + 1 + geometry.tokens(0) + tokens;
  return static_cast<size_t>(config.layers) *
             TransformerBlock::weight_bytes(context, var_block_shape(config, types.compute)) +
         BlockModulations::bytes(var_norm_shape(config, types.compute)) +
         ModulatedHead::bytes(context, var_head_shape(config, types.compute)) +
         linear_bytes(context, config.latent_channels, width, DType::kF32) +
         static_cast<size_t>(vectors * width) * sizeof(float) +
         VqQuantizer::bytes(context, var_quantizer_shape(config)).packed +
         VaeDecoder::bytes(context, var_decoder_shape(config, types.strip_bytes)).weights;
}

size_t rounded(int64_t count, DType dtype = DType::kF32) {
  return Arena::rounded(static_cast<size_t>(count) * dtype_bytes(dtype));
}

// Logits of the largest group of images that are computed at once.
size_t logits_bytes(const Context& context, const VarConfig& config, const Geometry& geometry,
                    const Batch& batch, DType compute) {
  const HeadShape head = var_head_shape(config, compute);
  size_t largest = 0;
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    const int64_t tokens = images_per_logits(geometry, scale, batch) * geometry.tokens(scale);
    largest = std::max(largest, ModulatedHead::scratch_bytes(context, head, tokens) +
                                    rounded(tokens * config.vocab));
  }
  return largest;
}

}  // namespace

ModelMemory var_memory(const Context& context, const VarConfig& config, const Geometry& geometry,
                       const Batch& batch, const RunTypes& types, size_t attention_bytes) {
  const int64_t rows = var_rows(batch);
  const int last = geometry.num_scales() - 1;
  const int64_t last_tokens = geometry.tokens(last);
  const QuantizerShape quantizer = var_quantizer_shape(config);
  const DecoderShape decoder = var_decoder_shape(config, types.strip_bytes);
  const AdaptiveNormShape norms = var_norm_shape(config, types.compute);
  const HeadShape head = var_head_shape(config, types.compute);
  const size_t latent = quantizer.latent_size() * sizeof(float);

  ModelMemory memory;
  memory.weights = weight_bytes(context, config, geometry, types);
  memory.state = rounded(rows * last_tokens * config.width) +
                 rounded(BlockModulations::floats(norms, rows)) +
                 rounded(ModulatedHead::floats(head, rows)) +
                 static_cast<size_t>(batch.images()) * Arena::rounded(latent);
  const size_t block =
      TransformerBlock::scratch_bytes(context, var_block_shape(config, types.compute),
                                      rows * last_tokens, types.kv, attention_bytes);
  const size_t start = rounded(rows * config.width) +
                       std::max(BlockModulations::scratch_bytes(context, norms, rows),
                                ModulatedHead::modulation_scratch_bytes(context, head, rows));
  const size_t accept = rounded(batch.images() * last_tokens * config.latent_channels) +
                        rounded(last_tokens * config.latent_channels) +
                        VqQuantizer::bytes(context, quantizer).scratch;
  memory.scratch = std::max(
      {block, start, accept, logits_bytes(context, config, geometry, batch, types.compute)});
  memory.decoder = VaeDecoder::bytes(context, decoder).scratch;
  return memory;
}

}  // namespace nextscale
