// SPDX-License-Identifier: Apache-2.0
// What a batch takes, as InfinityLayers and InfinityRun take it.
#include <algorithm>

#include "models/infinity/infinity_layers.h"

namespace nextscale {
namespace {

size_t rounded(int64_t count, DType dtype = DType::kF32) {
  return Arena::rounded(static_cast<size_t>(count) * dtype_bytes(dtype));
}

size_t weight_bytes(const Context& context, const InfinitySetting& setting, const RunTypes& types) {
  const InfinityConfig& config = setting.config;
  const kernels::LinearSpec word_embed{.in_features = config.token_bits(),
                                       .out_features = config.width};
  return static_cast<size_t>(config.layers) *
             TransformerBlock::weight_bytes(context, infinity_block_shape(config, types.compute)) +
         BlockModulations::bytes(infinity_norm_shape(config)) +
         ModulatedHead::bytes(context, infinity_head_shape(config)) +
         TextReader::bytes(context, config, kernels::activation_type(types.compute)) +
         context.kernels->linear_bytes(context, word_embed) +
         static_cast<size_t>((config.max_scales + 1) * config.width) * sizeof(float) +
         BsqQuantizer::table_bytes(infinity_quantizer_shape(setting)) +
         VaeDecoder::bytes(context, infinity_decoder_shape(setting, types.strip_bytes)).weights;
}

// Logits of the largest group of images that are computed at once.
size_t logits_bytes(const Context& context, const InfinitySetting& setting, const Batch& batch) {
  const HeadShape head = infinity_head_shape(setting.config);
  size_t largest = 0;
  for (int scale = 0; scale < setting.geometry.num_scales(); ++scale) {
    const int64_t tokens =
        images_per_logits(setting.geometry, scale, batch) * setting.geometry.tokens(scale);
    largest = std::max(largest, ModulatedHead::scratch_bytes(context, head, tokens) +
                                    rounded(tokens * head.logits));
  }
  return largest;
}

size_t state_bytes(const InfinitySetting& setting, const Batch& batch, const RunTypes& types) {
  constexpr size_t kKeysAndValues = 2;
  constexpr size_t kCosinesAndSines = 2;
  const InfinityConfig& config = setting.config;
  const int64_t rows = infinity_rows(batch);
  const int64_t last_tokens = setting.geometry.tokens(setting.geometry.num_scales() - 1);
  const size_t latent = infinity_quantizer_shape(setting).latent_size() * sizeof(float);
  return rounded(rows * last_tokens * config.width) +
         rounded(BlockModulations::floats(infinity_norm_shape(config), rows)) +
         rounded(ModulatedHead::floats(infinity_head_shape(config), rows)) +
         static_cast<size_t>(batch.images()) * Arena::rounded(latent) +
         kCosinesAndSines * rounded(last_tokens * config.head_dim) +
         kKeysAndValues *
             rounded(config.layers * infinity_text_tokens(batch) * config.width, types.kv);
}

// Of reading the texts, before the first scale.
size_t text_bytes(const Context& context, const InfinitySetting& setting, const Batch& batch,
                  const RunTypes& types) {
  const InfinityConfig& config = setting.config;
  const int64_t rows = infinity_rows(batch);
  const int64_t tokens = infinity_text_tokens(batch);
  const size_t read = TextReader::scratch_bytes(context, config, rows, tokens);
  const size_t modulate =
      std::max(BlockModulations::scratch_bytes(context, infinity_norm_shape(config), rows),
               ModulatedHead::modulation_scratch_bytes(context, infinity_head_shape(config), rows));
  const BlockShape block = infinity_block_shape(config, types.compute);
  const size_t project = TransformerBlock::context_scratch_bytes(context, block, tokens);
  return rounded(rows * config.width) + rounded(tokens * config.width, block.activation()) +
         std::max({read, modulate, project});
}

}  // namespace

int64_t infinity_text_tokens(const Batch& batch) {
  const bool is_guided = infinity_rows(batch) > batch.images();
  int64_t tokens = 0;
  for (const TextCondition& each : batch.texts) {
    tokens += each.text.tokens;
    if (is_guided) tokens += each.negative.tokens > 0 ? each.negative.tokens : each.text.tokens;
  }
  return tokens;
}

ModelMemory infinity_memory(const Context& context, const InfinitySetting& setting,
                            const Batch& batch, const RunTypes& types, size_t attention_bytes) {
  const InfinityConfig& config = setting.config;
  const int64_t rows = infinity_rows(batch);
  const int64_t last_tokens = setting.geometry.tokens(setting.geometry.num_scales() - 1);
  const BlockShape shape = infinity_block_shape(config, types.compute);
  const size_t block = TransformerBlock::scratch_bytes(context, shape, rows * last_tokens, types.kv,
                                                       attention_bytes);
  const size_t accept = rounded(batch.images() * last_tokens * config.token_bits()) +
                        BsqQuantizer::scratch_bytes(infinity_quantizer_shape(setting));
  return {
      .weights = weight_bytes(context, setting, types),
      .state = state_bytes(setting, batch, types),
      .scratch = std::max({block, text_bytes(context, setting, batch, types), accept,
                           logits_bytes(context, setting, batch)}),
      .decoder =
          VaeDecoder::bytes(context, infinity_decoder_shape(setting, types.strip_bytes)).scratch};
}

}  // namespace nextscale
