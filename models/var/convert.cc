// SPDX-License-Identifier: Apache-2.0
#include "models/var/convert.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "models/folder_writer.h"
#include "models/var/var_checkpoint.h"
#include "models/var/var_tensors.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

// Embeddings are added, not multiplied: rounding them would cost accuracy and save nothing.
bool is_matrix(const TensorInfo& tensor) {
  return tensor.shape.rank() == 2 && tensor.name != "class_emb.weight" &&
         tensor.name != "lvl_embed.weight";
}

// The small way from latents to tokens is multiplied in f32, never in eight bits.
DType stored_dtype(const TensorInfo& tensor, DType dtype) {
  if (!is_matrix(tensor)) return DType::kF32;
  return dtype == DType::kI8 && tensor.name == "word_embed.weight" ? DType::kF32 : dtype;
}

std::vector<TensorInfo> stored_transformer(const VarConfig& config, DType dtype) {
  std::vector<TensorInfo> tensors = var_transformer_tensors(config);
  for (TensorInfo& tensor : tensors) tensor.dtype = stored_dtype(tensor, dtype);
  aligned_order(tensors);
  return tensors;
}

std::vector<TensorInfo> stored_vae(const VarConfig& config) {
  std::vector<TensorInfo> tensors = var_vae_tensors(config);
  aligned_order(tensors);
  return tensors;
}

void take_class_names(const std::vector<std::string>& names, VarConfig& config) {
  if (names.empty()) return;
  if (static_cast<int64_t>(names.size()) != config.classes) {
    fail(ErrorCode::kMismatch,
         "convert: --class-names has {} names, wanted {}, as many as the model has classes",
         names.size(), config.classes);
  }
  config.class_names = names;
}

}  // namespace

VarConfig convert_var(const ConvertOptions& options, const ConvertProgress& report) {
  require_storable(options.dtype);
  if (!options.text_encoder.empty()) {
    fail(ErrorCode::kUsage,
         "convert: --text-encoder is not for VAR models, which read no prompts; leave it out");
  }
  if (!options.size.empty()) {
    fail(ErrorCode::kUsage,
         "convert: --size is not for VAR models, whose pictures have one size; leave it out");
  }
  const auto first = Checkpoint::open(options.transformer);
  const CheckpointPart transformer = find_var_transformer(*first);
  const auto second = options.vae.empty() ? nullptr : Checkpoint::open(options.vae);
  const CheckpointPart vae = find_var_vae(second == nullptr ? *first : *second);

  VarConfig config = infer_var_config(transformer, vae, options.patch_nums);
  take_class_names(options.class_names, config);
  const std::array<FolderFile, 2> files{
      {{kTransformerName, transformer, stored_transformer(config, options.dtype)},
       {kVaeName, vae, stored_vae(config)}}};
  require_tensors(transformer, files[0].tensors, "VAR transformer");
  require_tensors(vae, files[1].tensors, "VQVAE");
  write_model_folder(options, to_json(config), files, report);
  return config;
}

}  // namespace nextscale
