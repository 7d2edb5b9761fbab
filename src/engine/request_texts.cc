// SPDX-License-Identifier: Apache-2.0
#include "engine/request_texts.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace nextscale {
namespace {

TextView view_of(const Tensor& features) { return {features.as<float>(), features.shape()[0]}; }

}  // namespace

RequestTexts::RequestTexts(TextFeatures file) : file_(std::move(file)) {
  for (size_t index = 0; index < file_.prompts.size(); ++index) {
    TextCondition length{.text = {nullptr, file_.prompts[index].shape()[0]}};
    if (!file_.negatives.empty()) length.negative.tokens = file_.negatives[index].shape()[0];
    lengths_.push_back(length);
  }
}

RequestTexts::RequestTexts(PromptFeatures& store, const std::vector<Prompt>& prompts)
    : store_(&store), prompts_(prompts), lengths_(prompts.size()) {
  std::vector<std::string> texts;
  std::vector<std::string> negatives;
  for (const Prompt& prompt : prompts) {
    texts.push_back(prompt.text);
    if (prompt.negative) negatives.push_back(*prompt.negative);
  }
  const std::vector<int64_t> text_lengths = store.lengths(texts);
  const std::vector<int64_t> negative_lengths = store.lengths(negatives);
  auto negative = negative_lengths.begin();
  for (size_t index = 0; index < prompts.size(); ++index) {
    lengths_[index].text.tokens = text_lengths[index];
    if (prompts[index].negative) lengths_[index].negative.tokens = *negative++;
  }
}

TextCondition RequestTexts::longest() const {
  TextCondition result;
  for (const TextCondition& each : lengths_) {
    result.text.tokens = std::max(result.text.tokens, each.text.tokens);
    result.negative.tokens = std::max(result.negative.tokens, each.negative.tokens);
  }
  // Where some pictures have no negative text, theirs is as long as the text.
  if (result.negative.tokens > 0) {
    result.negative.tokens = std::max(result.negative.tokens, result.text.tokens);
  }
  return result;
}

int64_t RequestTexts::tokens_of(int64_t subject) const {
  const TextCondition& length = lengths_[static_cast<size_t>(subject)];
  return length.text.tokens + length.negative.tokens;
}

TextBytes RequestTexts::bytes(const Context& context, int64_t images) const {
  int64_t total = 0;
  for (int64_t subject = 0; subject < count(); ++subject) total += tokens_of(subject);
  TextBytes bytes;
  if (store_ == nullptr) {
    for (const auto* list : {&file_.prompts, &file_.negatives}) {
      for (const Tensor& each : *list) bytes.features += each.num_bytes();
    }
    return bytes;
  }
  std::vector<int64_t> lengths;
  for (const TextCondition& each : lengths_) {
    lengths.push_back(each.text.tokens);
    if (each.negative.tokens > 0) lengths.push_back(each.negative.tokens);
  }
  std::ranges::sort(lengths, std::greater<>());
  const TextCondition most = longest();
  const int64_t together =
      PromptFeatures::kHeldTokens + images * (most.text.tokens + most.negative.tokens);
  int64_t tokens = 0;
  size_t group = 0;
  while (group < lengths.size() && tokens < together) tokens += lengths[group++];
  bytes.encoding = store_->memory(context, std::span(lengths).first(group)).peak();
  bytes.features = static_cast<size_t>(tokens * store_->channels()) * sizeof(float);
  bytes.repeats = total > PromptFeatures::kHeldTokens;
  return bytes;
}

std::vector<std::string> RequestTexts::prompts_of(int64_t first, int64_t end) const {
  std::vector<std::string> result;
  for (int64_t subject = first; subject < end; ++subject) {
    const Prompt& prompt = prompts_[static_cast<size_t>(subject)];
    result.push_back(prompt.text);
    if (prompt.negative) result.push_back(*prompt.negative);
  }
  return result;
}

std::vector<std::string> RequestTexts::hold(const Context& context, int64_t first, int64_t count) {
  if (store_ == nullptr) return {};
  int64_t end = first + count;
  const bool is_held = std::ranges::all_of(
      prompts_of(first, end), [&](const std::string& prompt) { return store_->holds(prompt); });
  if (is_held) return {};
  int64_t tokens = 0;
  for (int64_t subject = first; subject < end; ++subject) tokens += tokens_of(subject);
  while (end < this->count() && tokens + tokens_of(end) <= PromptFeatures::kHeldTokens) {
    tokens += tokens_of(end++);
  }
  return store_->hold(context, prompts_of(first, end));
}

TextCondition RequestTexts::at(int64_t subject) const {
  const auto index = static_cast<size_t>(subject);
  if (store_ == nullptr) {
    TextCondition result{.text = view_of(file_.prompts[index])};
    if (!file_.negatives.empty()) result.negative = view_of(file_.negatives[index]);
    return result;
  }
  const Prompt& prompt = prompts_[index];
  TextCondition result{.text = view_of(store_->at(prompt.text))};
  if (prompt.negative) result.negative = view_of(store_->at(*prompt.negative));
  return result;
}

}  // namespace nextscale
