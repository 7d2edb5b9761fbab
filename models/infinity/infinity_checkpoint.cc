// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/infinity_checkpoint.h"

#include <algorithm>
#include <utility>

#include "core/error_format.h"
#include "models/infinity/infinity_tensors.h"
#include "models/infinity/picture_size.h"
#include "models/infinity/published.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr std::string_view kTransformerAnchor = "text_proj_for_sos.ca.mat_q";
constexpr std::string_view kVaeAnchor = "decoder.conv_in.weight";
constexpr std::string_view kWrappedVaeAnchor = "decoder.conv_in.conv.weight";
// Where training checkpoints keep the weights.
constexpr std::string_view kTrainingPrefix = "trainer/gpt_fsdp/";
constexpr std::string_view kVaePrefix = "vae/";
constexpr int64_t kPatchCells = 4;

// Recommended for models that nobody published.
constexpr PublishedInfinity kUnpublished{};

void infer_layers(const CheckpointPart& transformer, InfinityConfig& config) {
  config.chunks = count_numbered(transformer, [](int64_t chunk) {
    return fmt::format("block_chunks.{}.module.0.sa.mat_qkv.weight", chunk);
  });
  const int64_t per_chunk = count_numbered(transformer, [](int64_t layer) {
    return fmt::format("block_chunks.0.module.{}.sa.mat_qkv.weight", layer);
  });
  config.layers = config.chunks * per_chunk;
  if (config.layers > 0) return;
  fail(ErrorCode::kMismatch,
       "convert: {} holds no layer ('{}' is missing); check that the file is complete",
       shown(transformer.checkpoint->path()),
       printable(transformer.full_name("block_chunks.0.module.0.sa.mat_qkv.weight")));
}

void infer_transformer(const CheckpointPart& transformer, InfinityConfig& config) {
  infer_layers(transformer, config);
  config.width = shape_of(transformer, "pos_start", 3)[2];
  config.heads = shape_of(transformer, "block_chunks.0.module.0.sa.scale_mul_1H11", 4)[1];
  if (config.heads <= 0 || config.width % config.heads != 0) {
    fail(ErrorCode::kMismatch,
         "convert: {} has width {} and {} heads, which do not divide it; check that the file is an "
         "Infinity checkpoint",
         shown(transformer.checkpoint->path()), config.width, config.heads);
  }
  config.head_dim = config.width / config.heads;
  config.ffn_width = shape_of(transformer, "block_chunks.0.module.0.ffn.fc1.weight", 2)[0];
  config.pool_heads = shape_of(transformer, std::string(kTransformerAnchor), 3)[1];
  const Shape no_text = shape_of(transformer, "cfg_uncond", 2);
  config.text_tokens = no_text[0];
  config.text_channels = no_text[1];
  config.max_scales = shape_of(transformer, "lvl_embed.weight", 2)[0];
}

// A token is one cell of the latent or 2x2 of them; its bits tell.
void infer_patchify(const CheckpointPart& transformer, const CheckpointPart& vae,
                    InfinityConfig& config) {
  const int64_t bits = shape_of(transformer, "word_embed.weight", 2)[1];
  config.patchify = bits == kPatchCells * config.latent_channels;
  if (config.patchify || bits == config.latent_channels) return;
  fail(ErrorCode::kMismatch,
       "convert: {} has tokens of {} bits, but {} has cells of {} (tokens of {} or {}); the two "
       "files belong to different models",
       shown(transformer.checkpoint->path()), bits, shown(vae.checkpoint->path()),
       config.latent_channels, config.latent_channels, kPatchCells * config.latent_channels);
}

void infer_vae(const CheckpointPart& vae, InfinityConfig& config) {
  config.latent_channels = shape_of(vae, "decoder.conv_in.weight", 4)[1];
  DecoderSizes sizes = decoder_sizes(vae);
  config.base_channels = sizes.base_channels;
  config.channel_multipliers = std::move(sizes.channel_multipliers);
  config.num_res_blocks = sizes.num_res_blocks;
}

void recommend(const CheckpointPart& transformer, const std::string& size, InfinityConfig& config) {
  const auto published = published_infinity();
  const auto known = std::ranges::find_if(published, [&](const PublishedInfinity& model) {
    return model.layers == config.layers && model.width() == config.width;
  });
  const PublishedInfinity& settings = known == published.end() ? kUnpublished : *known;
  config.default_size = size.empty() ? settings.size : size;
  config.default_cfg = {settings.cfg};
  config.default_tau = {settings.tau};
  config.default_top_p = kInfinityTopP;
  if (find_infinity_picture(config.default_size)) return;
  fail(ErrorCode::kUsage, "--size: got '{}', wanted {}; or leave it out for {}", printable(size),
       kInfinityPictureForms, shown(transformer.checkpoint->path()));
}

// Throws unless config.json could hold this geometry.
void require_possible(const InfinityConfig& config, const Checkpoint& checkpoint) {
  const std::string reason = impossible_setting(config);
  if (reason.empty()) return;
  fail(ErrorCode::kMismatch,
       "convert: the shapes in {} make no Infinity model this engine can run ({}); check that the "
       "file is one",
       shown(checkpoint.path()), reason);
}

}  // namespace

CheckpointPart find_infinity_transformer(Checkpoint& checkpoint) {
  return find_part(checkpoint, {.anchor = kTransformerAnchor,
                                .what = "Infinity transformer",
                                .flag = "--transformer",
                                .preferred = kTrainingPrefix});
}

CheckpointPart find_infinity_vae(Checkpoint& checkpoint) {
  const bool is_wrapped = std::ranges::any_of(checkpoint.tensors(), [](const TensorInfo& tensor) {
    return tensor.name.ends_with(kWrappedVaeAnchor);
  });
  CheckpointPart part =
      find_part(checkpoint, {.anchor = is_wrapped ? kWrappedVaeAnchor : kVaeAnchor,
                             .what = "VAE",
                             .flag = "--vae",
                             .preferred = kVaePrefix});
  if (is_wrapped) part.stored_name = wrapped_vae_name;
  // VAR's decoder has the plain naming too, and a codebook, which Infinity's has not.
  if (part.find("quantize.embedding.weight") == nullptr) return part;
  fail(ErrorCode::kMismatch,
       "convert: {} holds the VQVAE of a VAR model, wanted an Infinity VAE such as "
       "infinity_vae_d32reg.pth; give the path of one with --vae",
       shown(checkpoint.path()));
}

InfinityConfig infer_infinity_config(const CheckpointPart& transformer, const CheckpointPart& vae,
                                     const std::string& size) {
  InfinityConfig config;
  infer_transformer(transformer, config);
  infer_vae(vae, config);
  infer_patchify(transformer, vae, config);
  recommend(transformer, size, config);
  require_possible(config, *transformer.checkpoint);
  return config;
}

}  // namespace nextscale
