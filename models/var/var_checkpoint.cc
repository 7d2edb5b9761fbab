// SPDX-License-Identifier: Apache-2.0
#include "models/var/var_checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error_format.h"
#include "models/var/imagenet_classes.h"
#include "models/var/var_tensors.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

// A tensor that every transformer, every VQVAE of the family has.
constexpr std::string_view kTransformerAnchor = "pos_1LC";
constexpr std::string_view kVaeAnchor = "quantize.embedding.weight";
constexpr int64_t kHeadDim = 64;  // of every model of the family
constexpr int64_t kMaxTokens = int64_t{1} << 22;
constexpr auto kImagenetClasses = static_cast<int64_t>(kNumImagenetClasses);
// Settings of the authors' demonstration.
constexpr float kDefaultCfg = 4.0F;
constexpr int64_t kDefaultTopK = 900;
constexpr float kDefaultTopP = 0.95F;

constexpr std::array<int64_t, 10> kSchedule256{1, 2, 3, 4, 5, 6, 8, 10, 13, 16};
constexpr std::array<int64_t, 10> kSchedule512{1, 2, 3, 4, 6, 9, 13, 18, 24, 32};

int64_t integer_root(int64_t square) {
  return std::llround(std::sqrt(static_cast<double>(square)));
}

// The sides of the scales from the level of every token; empty if there are no (sound) level ids.
std::vector<int64_t> schedule_from_levels(const CheckpointPart& transformer, int64_t num_tokens) {
  const TensorInfo* info = transformer.find("lvl_1L");
  if (info == nullptr || info->dtype != DType::kI64 || info->shape != Shape{1, num_tokens})
    return {};
  std::vector<int64_t> levels(static_cast<size_t>(num_tokens));
  transformer.checkpoint->read(info->name, std::as_writable_bytes(std::span(levels)));
  std::vector<int64_t> sides;
  for (auto start = levels.begin(); start != levels.end();) {
    const auto end =
        std::find_if(start, levels.end(), [&](int64_t level) { return level != *start; });
    const int64_t side = integer_root(end - start);
    if (*start != static_cast<int64_t>(sides.size()) || side * side != end - start) return {};
    sides.push_back(side);
    start = end;
  }
  return sides;
}

std::vector<int64_t> released_schedule(int64_t num_tokens, int64_t num_scales) {
  for (std::span<const int64_t> sides :
       {std::span<const int64_t>(kSchedule256), std::span<const int64_t>(kSchedule512)}) {
    int64_t tokens = 0;
    for (const int64_t side : sides) tokens += side * side;
    if (tokens == num_tokens && static_cast<int64_t>(sides.size()) == num_scales)
      return {sides.begin(), sides.end()};
  }
  return {};
}

void require_schedule_fits(const VarConfig& config, int64_t num_tokens, int64_t num_scales,
                           const Checkpoint& checkpoint) {
  const bool fits = is_patch_schedule(config.patch_nums) && total_tokens(config) == num_tokens &&
                    static_cast<int64_t>(config.patch_nums.size()) == num_scales;
  if (fits) return;
  fail(ErrorCode::kUsage,
       "convert: the schedule {} does not fit {}, which has {} scales and {} tokens; give "
       "--patch-nums with {} "
       "ascending sides from 1 whose squares add up to {}",
       fmt::join(config.patch_nums, ","), shown(checkpoint.path()), num_scales, num_tokens,
       num_scales, num_tokens);
}

std::vector<int64_t> find_schedule(const CheckpointPart& transformer,
                                   std::span<const int64_t> given, int64_t num_tokens,
                                   int64_t num_scales) {
  std::vector<int64_t> recorded = schedule_from_levels(transformer, num_tokens);
  if (!given.empty()) {
    if (!recorded.empty() && !std::ranges::equal(given, recorded)) {
      fail(ErrorCode::kUsage,
           "convert: --patch-nums {} contradicts {}, which records {}; leave the flag out",
           fmt::join(given, ","), shown(transformer.checkpoint->path()), fmt::join(recorded, ","));
    }
    return {given.begin(), given.end()};
  }
  if (!recorded.empty()) return recorded;
  std::vector<int64_t> released = released_schedule(num_tokens, num_scales);
  if (!released.empty()) return released;
  fail(ErrorCode::kUsage,
       "convert: {} does not say how large its {} scales are; give --patch-nums, ascending sides "
       "from 1 whose "
       "squares add up to {}",
       shown(transformer.checkpoint->path()), num_scales, num_tokens);
}

void infer_heads(const CheckpointPart& transformer, VarConfig& config) {
  config.qk_l2_norm = transformer.find("blocks.0.attn.scale_mul_1H11") != nullptr;
  config.heads = config.qk_l2_norm ? shape_of(transformer, "blocks.0.attn.scale_mul_1H11", 4)[1]
                                   : config.width / kHeadDim;
  if (config.heads <= 0 || config.width % config.heads != 0) {
    fail(ErrorCode::kMismatch,
         "convert: {} has width {} and {} heads, which do not divide it; check that the file is a "
         "VAR checkpoint",
         shown(transformer.checkpoint->path()), config.width, config.heads);
  }
  config.head_dim = config.width / config.heads;
}

void infer_transformer(const CheckpointPart& transformer, std::span<const int64_t> patch_nums,
                       VarConfig& config) {
  const Shape positions = shape_of(transformer, "pos_1LC", 3);
  const int64_t num_scales = shape_of(transformer, "lvl_embed.weight", 2)[0];
  if (positions[1] > kMaxTokens) {
    fail(ErrorCode::kUnsupported,
         "convert: {} has {} tokens per picture, wanted at most {}; no VAR model has so many",
         shown(transformer.checkpoint->path()), positions[1], kMaxTokens);
  }
  config.width = positions[2];
  config.layers = count_numbered(transformer, [](int64_t layer) {
    return fmt::format("blocks.{}.attn.mat_qkv.weight", layer);
  });
  infer_heads(transformer, config);
  config.ffn_width = shape_of(transformer, "blocks.0.ffn.fc1.weight", 2)[0];
  config.classes = shape_of(transformer, "class_emb.weight", 2)[0] - 1;
  config.vocab = shape_of(transformer, "head.weight", 2)[0];
  config.latent_channels = shape_of(transformer, "word_embed.weight", 2)[1];
  config.shared_adaln = transformer.find("shared_ada_lin.1.weight") != nullptr;
  config.patch_nums = find_schedule(transformer, patch_nums, positions[1], num_scales);
  require_schedule_fits(config, positions[1], num_scales, *transformer.checkpoint);
}

void infer_vae(const CheckpointPart& vae, VarConfig& config) {
  const Shape codebook = shape_of(vae, std::string(kVaeAnchor), 2);
  if (codebook != Shape{config.vocab, config.latent_channels}) {
    fail(ErrorCode::kMismatch,
         "convert: {} has {} codes of {} channels, but the transformer wants {} of {}; the two "
         "files belong to "
         "different models",
         shown(vae.checkpoint->path()), codebook[0], codebook[1], config.vocab,
         config.latent_channels);
  }
  DecoderSizes sizes = decoder_sizes(vae);
  config.base_channels = sizes.base_channels;
  config.channel_multipliers = std::move(sizes.channel_multipliers);
  config.num_res_blocks = sizes.num_res_blocks;
  config.num_phi_convs = count_numbered(
      vae, [](int64_t phi) { return fmt::format("quantize.quant_resi.qresi_ls.{}.weight", phi); });
}

// Throws unless config.json could hold this geometry.
void require_possible(const VarConfig& config, const Checkpoint& checkpoint) {
  const std::string reason = impossible_setting(config);
  if (reason.empty()) return;
  fail(ErrorCode::kMismatch,
       "convert: the shapes in {} make no VAR model this engine can run ({}); check that the file "
       "is one",
       shown(checkpoint.path()), reason);
}

}  // namespace

CheckpointPart find_var_transformer(Checkpoint& checkpoint) {
  CheckpointPart part =
      find_part(checkpoint,
                {.anchor = kTransformerAnchor, .what = "VAR transformer", .flag = "--transformer"});
  // HART has positions too; its blocks are others.
  if (part.find("blocks.0.attn.mat_qkv.weight") != nullptr &&
      part.find("class_emb.weight") != nullptr)
    return part;
  fail(ErrorCode::kMismatch,
       "convert: {} holds no VAR transformer: {}; give the path of one with --transformer",
       shown(checkpoint.path()), what_it_looks_like(checkpoint));
}

CheckpointPart find_var_vae(Checkpoint& checkpoint) {
  return find_part(checkpoint, {.anchor = kVaeAnchor, .what = "VQVAE", .flag = "--vae"});
}

VarConfig infer_var_config(const CheckpointPart& transformer, const CheckpointPart& vae,
                           std::span<const int64_t> patch_nums) {
  VarConfig config;
  infer_transformer(transformer, patch_nums, config);
  infer_vae(vae, config);
  config.default_cfg = kDefaultCfg;
  config.default_top_k = std::min(kDefaultTopK, config.vocab);
  config.default_top_p = kDefaultTopP;
  if (config.classes == kImagenetClasses) config.class_names = imagenet_class_names();
  require_possible(config, *transformer.checkpoint);
  return config;
}

}  // namespace nextscale
