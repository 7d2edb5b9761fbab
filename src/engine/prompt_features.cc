// SPDX-License-Identifier: Apache-2.0
#include "engine/prompt_features.h"

#include <algorithm>
#include <utility>

namespace nextscale {

// Lets go of what is not wanted if all together were too much.
void PromptFeatures::make_room(std::span<const std::string> wanted) {
  int64_t tokens = 0;
  for (const auto& [prompt, features] : held_) tokens += features.shape()[0];
  for (const int64_t length : encoder_.lengths(wanted)) tokens += length;
  if (tokens <= kHeldTokens) return;
  std::erase_if(held_, [&](const auto& each) {
    return std::ranges::find(wanted, each.first) == wanted.end();
  });
}

std::vector<std::string> PromptFeatures::hold(const Context& context,
                                              std::span<const std::string> prompts) {
  std::vector<std::string> missing;
  for (const std::string& prompt : prompts) {
    if (!holds(prompt)) missing.push_back(prompt);
  }
  if (missing.empty()) return {};
  make_room(prompts);
  EncodedPrompts encoded = encoder_.encode(context, missing);
  for (size_t index = 0; index < missing.size(); ++index) {
    held_.insert_or_assign(missing[index], std::move(encoded.features[index]));
  }
  return std::move(encoded.notes);
}

}  // namespace nextscale
