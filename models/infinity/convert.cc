// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/convert.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "models/folder_writer.h"
#include "models/infinity/infinity_checkpoint.h"
#include "models/infinity/infinity_tensors.h"
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
}

}  // namespace

InfinityConfig convert_infinity(const ConvertOptions& options, const ConvertProgress& report) {
  require_options(options);
  const auto first = Checkpoint::open(options.transformer);
  const CheckpointPart transformer = find_infinity_transformer(*first);
  const auto second = Checkpoint::open(options.vae);
  const CheckpointPart vae = find_infinity_vae(*second);

  InfinityConfig config = infer_infinity_config(transformer, vae, options.size);
  const std::array<FolderFile, 2> files{
      {{kTransformerName, transformer, stored_transformer(config, options.dtype)},
       {kVaeName, vae, stored_vae(config)}}};
  require_tensors(transformer, files[0].tensors, "Infinity transformer");
  require_tensors(vae, files[1].tensors, "VAE");
  write_model_folder(options, to_json(config), files, report);
  return config;
}

}  // namespace nextscale
