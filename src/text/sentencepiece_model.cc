// SPDX-License-Identifier: Apache-2.0
#include "text/sentencepiece_model.h"

#include <sentencepiece_processor.h>

#include <string>

#include "core/error_format.h"
#include "text/character_map.h"
#include "weights/file_error.h"
#include "weights/json_text.h"

namespace nextscale {
namespace {

constexpr size_t kMaxModelBytes = size_t{64} << 20;

[[noreturn]] void fail_model(std::string_view name, std::string_view reason) {
  fail(ErrorCode::kBadFile, "tokenizer: {} is no sentencepiece model ({}); download it again", name,
       printable(reason));
}

}  // namespace

SentencePieceModel::SentencePieceModel(const std::filesystem::path& path)
    : SentencePieceModel(read_text_file(path, kMaxModelBytes), shown(path)) {}

SentencePieceModel::SentencePieceModel(std::string_view bytes, std::string_view name)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  if (!has_sound_character_map(bytes)) fail_model(name, "its tables lead outside the file");
  const auto status = processor_->LoadFromSerializedProto(bytes);
  if (!status.ok()) fail_model(name, status.message());
}

SentencePieceModel::~SentencePieceModel() = default;
SentencePieceModel::SentencePieceModel(SentencePieceModel&&) noexcept = default;
SentencePieceModel& SentencePieceModel::operator=(SentencePieceModel&&) noexcept = default;

int64_t SentencePieceModel::num_pieces() const { return processor_->GetPieceSize(); }
int32_t SentencePieceModel::pad_id() const { return processor_->pad_id(); }
int32_t SentencePieceModel::end_id() const { return processor_->eos_id(); }
int32_t SentencePieceModel::unknown_id() const { return processor_->unk_id(); }

void SentencePieceModel::encode(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<int> encoded;
  const auto status = processor_->Encode(text, &encoded);
  if (!status.ok()) {
    fail(ErrorCode::kBadFile, "tokenizer: sentencepiece refused a text: {}; is the model damaged?",
         printable(status.message()));
  }
  ids.insert(ids.end(), encoded.begin(), encoded.end());
}

}  // namespace nextscale
