// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/convert.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "core/error_format.h"
#include "models/folder_writer.h"
#include "models/infinity/infinity_checkpoint.h"
#include "models/infinity/infinity_tensors.h"
#include "models/text/convert_t5.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

// The matrices of the layers, as the official code rounds them; what is used once per picture
// keeps its precision.
bool is_layer_matrix(const TensorInfo& tensor) {
  return tensor.shape.rank() == 2 && tensor.name.starts_with("block_chunks.");
}

std::vector<TensorInfo> stored_transformer(const InfinityConfig& config, DType dtype) {
  std::vector<TensorInfo> tensors = infinity_transformer_tensors(config);
  for (TensorInfo& tensor : tensors) tensor.dtype = is_layer_matrix(tensor) ? dtype : DType::kF32;
  aligned_order(tensors);
  return tensors;
}

std::vector<TensorInfo> stored_vae(const InfinityConfig& config) {
  std::vector<TensorInfo> tensors = infinity_vae_tensors(config);
  aligned_order(tensors);
  return tensors;
}

void require_options(const ConvertOptions& options) {
  require_storable(options.dtype);
  if (options.vae.empty()) {
    fail(ErrorCode::kUsage,
         "convert: --vae is missing, wanted the official VAE of the model, such as "
         "infinity_vae_d32reg.pth");
  }
  if (!options.patch_nums.empty()) {
    fail(ErrorCode::kUsage,
         "convert: --patch-nums is not for Infinity models, whose scales follow from the size of "
         "the picture; leave it out");
  }
  if (!options.class_names.empty()) {
    fail(ErrorCode::kUsage,
         "convert: --class-names is not for Infinity models, which read prompts; leave it out");
  }
}

std::optional<T5Source> open_text_encoder(const ConvertOptions& options,
                                          const InfinityConfig& config) {
  if (options.text_encoder.empty()) return std::nullopt;
  T5Source source = open_t5(options.text_encoder);
  if (source.config.width == config.text_channels) return source;
  fail(ErrorCode::kMismatch,
       "convert: --text-encoder gives features of {} channels, the transformer reads {}; the "
       "published models read those of flan-t5-xl",
       source.config.width, config.text_channels);
}

}  // namespace

InfinityConfig convert_infinity(const ConvertOptions& options, const ConvertProgress& report) {
  require_options(options);
  const auto first = Checkpoint::open(options.transformer);
  const CheckpointPart transformer = find_infinity_transformer(*first);
  const auto second = Checkpoint::open(options.vae);
  const CheckpointPart vae = find_infinity_vae(*second);

  InfinityConfig config = infer_infinity_config(transformer, vae, options.size);
  std::vector<FolderFile> files{
      {kTransformerName, transformer, stored_transformer(config, options.dtype)},
      {kVaeName, vae, stored_vae(config)}};
  require_tensors(transformer, files[0].tensors, "Infinity transformer");
  require_tensors(vae, files[1].tensors, "VAE");
  nlohmann::json document = to_json(config);
  const std::optional<T5Source> text = open_text_encoder(options, config);
  if (text) {
    files.push_back(t5_weights(*text, options.text_dtype));
    files.push_back(t5_tokenizer(*text));
    document["text_encoder"] = to_json(text->config);
  }
  write_model_folder(options, std::move(document), files, report);
  return config;
}

}  // namespace nextscale
