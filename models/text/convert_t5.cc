// SPDX-License-Identifier: Apache-2.0
#include "models/text/convert_t5.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/error_format.h"
#include "text/sentencepiece_model.h"
#include "weights/file_error.h"
#include "weights/json_text.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t{1} << 20;
constexpr std::string_view kOtherEmbedding = "encoder.embed_tokens.weight";

// In the order of preference.
constexpr std::array<std::string_view, 4> kWeightFiles{
    "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json",
    "pytorch_model.bin"};

fs::path weights_of(const fs::path& folder) {
  std::error_code error;
  for (std::string_view name : kWeightFiles) {
    if (fs::exists(folder / name, error)) return folder / name;
  }
  fail(ErrorCode::kNotFound,
       "text encoder: folder {} has neither model.safetensors nor pytorch_model.bin, whole or in "
       "shards; give the folder of a T5 as Hugging Face publishes it",
       shown(folder));
}

std::string embedding_of_the_encoder(std::string_view name) {
  return std::string(name == kT5Embedding ? kOtherEmbedding : name);
}

// Some files hold the embedding under the encoder's name alone.
CheckpointPart part_of(Checkpoint& checkpoint) {
  CheckpointPart part{.checkpoint = &checkpoint, .prefix = ""};
  if (part.find(kT5Embedding) == nullptr) part.stored_name = embedding_of_the_encoder;
  return part;
}

void require_tokenizer(const T5Source& source) {
  const int64_t pieces = SentencePieceModel(source.tokenizer).num_pieces();
  if (pieces <= source.config.vocab) return;
  fail(ErrorCode::kMismatch,
       "text encoder: {} has {} pieces, the encoder's table {} rows; take both from the same model",
       shown(source.tokenizer), pieces, source.config.vocab);
}

bool is_product(const TensorInfo& tensor) {
  return tensor.shape.rank() == 2 && tensor.name != kT5Embedding && tensor.name != kT5RelativeBias;
}

}  // namespace

T5Source open_t5(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    fail(ErrorCode::kNotFound, "text encoder: there is no folder {}; check --text-encoder",
         shown(folder));
  }
  const fs::path config_path = folder / kModelConfigName;
  T5Source source;
  source.config =
      parse_t5_config(parse_json(read_text_file(config_path, kMaxConfigBytes), shown(config_path)));
  source.checkpoint = Checkpoint::open(weights_of(folder));
  source.part = part_of(*source.checkpoint);
  require_tensors(source.part, t5_tensors(source.config), "T5 encoder");
  source.tokenizer = folder / kTokenizerName;
  require_tokenizer(source);
  return source;
}

FolderFile t5_weights(const T5Source& source, DType dtype) {
  require_storable(dtype);
  std::vector<TensorInfo> tensors = t5_tensors(source.config);
  for (TensorInfo& tensor : tensors) {
    if (is_product(tensor)) tensor.dtype = dtype;
  }
  aligned_order(tensors);
  return {.name = kTextEncoderName, .part = source.part, .tensors = std::move(tensors)};
}

FolderFile t5_tokenizer(const T5Source& source) {
  return {.name = kTokenizerName, .copied = source.tokenizer};
}

}  // namespace nextscale
