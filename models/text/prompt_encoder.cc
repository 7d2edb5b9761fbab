// SPDX-License-Identifier: Apache-2.0
#include "models/text/prompt_encoder.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error_format.h"
#include "models/text/convert_t5.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr std::string_view kSection = "text_encoder";

const nlohmann::json& section_of(const ModelFolder& folder) {
  if (PromptEncoder::is_in(folder)) return folder.config.at(kSection);
  fail(ErrorCode::kMismatch,
       "prompt: model {} holds no text encoder; give --text-features, or convert the model again "
       "with --text-encoder",
       shown(folder.path));
}

// Tells encoders apart whose features differ in any bit.
std::string identity_of(const ModelFolder& folder, DType compute) {
  const auto file = std::ranges::find(folder.files, kTextEncoderName, &ModelFile::name);
  if (file == folder.files.end()) {
    fail(ErrorCode::kBadFile, "model: the config.json of {} does not list {}", shown(folder.path),
         kTextEncoderName);
  }
  return fmt::format("{} {}", file->sha256, dtype_name(compute));
}

// "prompt 3 of 7: …" where there are several.
[[noreturn]] void fail_prompt(const Error& error, size_t index, size_t count) {
  if (count == 1) throw error;
  throw Error(error.code(), fmt::format("prompt {} of {}: {}", index + 1, count, error.what()));
}

}  // namespace

bool PromptEncoder::is_in(const ModelFolder& folder) {
  return folder.config.is_object() && folder.config.contains(kSection);
}

PromptEncoder::PromptEncoder(const ModelFolder& folder, const PromptEncoderOptions& options)
    : encoder_(parse_t5_config(section_of(folder)), folder.path / kTextEncoderName,
               options.compute),
      tokenizer_(folder.path / kTokenizerName),
      max_tokens_(options.max_tokens) {
  if (options.cache.empty()) return;
  cache_ = std::make_unique<FeatureCache>(options.cache, identity_of(folder, options.compute),
                                          channels());
}

std::vector<T5Tokens> PromptEncoder::tokenize(std::span<const std::string> prompts) const {
  std::vector<T5Tokens> result;
  for (size_t index = 0; index < prompts.size(); ++index) {
    try {
      result.push_back(tokenizer_.encode(prompts[index], max_tokens_));
    } catch (const Error& error) {
      fail_prompt(error, index, prompts.size());
    }
  }
  return result;
}

EncodedPrompts PromptEncoder::encode(const Context& context,
                                     std::span<const std::string> prompts) const {
  const std::vector<T5Tokens> tokens = tokenize(prompts);
  EncodedPrompts result;
  result.features.resize(prompts.size());
  std::map<std::vector<int32_t>, size_t> first_with;  // ids → the first prompt that has them
  std::vector<std::vector<int32_t>> missing;
  for (size_t index = 0; index < prompts.size(); ++index) {
    const std::string note = tokens[index].note();
    if (!note.empty()) {
      result.notes.push_back(prompts.size() == 1 ? note
                                                 : fmt::format("prompt {} of {}: {}", index + 1,
                                                               prompts.size(), note));
    }
    if (!first_with.try_emplace(tokens[index].ids, index).second) continue;
    if (cache_ != nullptr) {
      CachedFeatures cached = cache_->find(tokens[index].ids);
      if (!cached.note.empty()) result.notes.push_back(std::move(cached.note));
      if (cached.features) {
        result.features[index] = std::move(*cached.features);
        continue;
      }
    }
    missing.push_back(tokens[index].ids);
  }
  std::vector<Tensor> encoded = encoder_.encode(context, missing);
  for (size_t index = 0; index < missing.size(); ++index) {
    if (cache_ != nullptr) cache_->store(missing[index], encoded[index]);
    result.features[first_with.at(missing[index])] = std::move(encoded[index]);
  }
  for (size_t index = 0; index < prompts.size(); ++index) {
    if (!result.features[index].empty()) continue;
    result.features[index] = result.features[first_with.at(tokens[index].ids)].clone();
  }
  return result;
}

std::vector<int64_t> PromptEncoder::lengths(std::span<const std::string> prompts) const {
  std::vector<int64_t> lengths;
  for (const T5Tokens& each : tokenize(prompts)) {
    lengths.push_back(static_cast<int64_t>(each.ids.size()));
  }
  return lengths;
}

T5Memory PromptEncoder::memory(const Context& context, std::span<const int64_t> lengths) const {
  return encoder_.memory(context, lengths);
}

}  // namespace nextscale
