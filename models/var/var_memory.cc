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

size_t block_bytes(const Context& context, const VarConfig& config, DType compute) {
  const int64_t width = config.width;
  return linear_bytes(context, width, 3 * width, compute) +
         linear_bytes(context, width, width, compute) +
         linear_bytes(context, width, config.ffn_width, compute) +
         linear_bytes(context, config.ffn_width, width, compute) +
         (config.qk_l2_norm ? static_cast<size_t>(config.heads) * sizeof(float) : 0);
}

size_t modulation_bytes(const Context& context, const VarConfig& config, DType compute) {
  const size_t projection =
      linear_bytes(context, config.width, kNumModulations * config.width, compute);
  if (!config.shared_adaln) return static_cast<size_t>(config.layers) * projection;
  return projection +
         static_cast<size_t>(config.layers * kNumModulations * config.width) * sizeof(float);
}

size_t weight_bytes(const Context& context, const VarConfig& config, const Geometry& geometry,
                    const RunTypes& types) {
  const int64_t width = config.width;
  const int64_t tokens = geometry.tokens_through(geometry.num_scales() - 1);
  const int64_t vectors = config.classes + 1 + geometry.tokens(0) + tokens;
  return static_cast<size_t>(config.layers) * block_bytes(context, config, types.compute) +
         modulation_bytes(context, config, types.compute) +
         linear_bytes(context, width, kNumHeadModulations * width, types.compute) +
         linear_bytes(context, width, config.vocab, types.compute) +
         linear_bytes(context, config.latent_channels, width, DType::kF32) +
         static_cast<size_t>(vectors * width) * sizeof(float) +
         VqQuantizer::bytes(context, var_quantizer_shape(config)).packed +
         VaeDecoder::bytes(context, var_decoder_shape(config, types.strip_bytes)).weights;
}

size_t rounded(int64_t count, DType dtype = DType::kF32) {
  return Arena::rounded(static_cast<size_t>(count) * dtype_bytes(dtype));
}

// Logits of the largest group of images that are computed at once.
size_t logits_bytes(const VarConfig& config, const Geometry& geometry, const Batch& batch,
                    DType compute) {
  size_t largest = 0;
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    const int64_t tokens = images_per_logits(geometry, scale, batch) * geometry.tokens(scale);
    largest =
        std::max(largest, rounded(tokens * config.width, compute) + rounded(tokens * config.vocab));
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
  const size_t latent = quantizer.latent_size() * sizeof(float);

  ModelMemory memory;
  memory.weights = weight_bytes(context, config, geometry, types);
  memory.state = rounded(rows * last_tokens * config.width) +
                 rounded(config.layers * rows * kNumModulations * config.width) +
                 rounded(rows * kNumHeadModulations * config.width) +
                 static_cast<size_t>(batch.images()) * Arena::rounded(latent);
  const size_t block =
      TransformerBlock::scratch_bytes({.width = config.width,
                                       .query_heads = config.heads,
                                       .kv_heads = config.heads,
                                       .head_dim = config.head_dim,
                                       .ffn_width = config.ffn_width,
                                       .normalize_qk = config.qk_l2_norm,
                                       .compute = types.compute},
                                      rows * last_tokens, types.kv, attention_bytes);
  const size_t start = rounded(rows * config.width) + rounded(rows * config.width, types.compute);
  const size_t accept = rounded(batch.images() * last_tokens * config.latent_channels) +
                        rounded(last_tokens * config.latent_channels) +
                        VqQuantizer::bytes(context, quantizer).scratch;
  memory.scratch =
      std::max({block, start, accept, logits_bytes(config, geometry, batch, types.compute)});
  memory.decoder = VaeDecoder::bytes(context, decoder).scratch;
  return memory;
}

}  // namespace nextscale
