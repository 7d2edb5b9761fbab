// SPDX-License-Identifier: Apache-2.0
// Features of prompts in memory: encoded when they are asked for, several at once, since the
// encoder's weights are read anew each time, and let go of when others need the room. Owns the
// encoder's files, of which nothing is in memory between calls (models/text/prompt_encoder.h). One
// call at a time.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/text/prompt_encoder.h"

namespace nextscale {

class PromptFeatures {
 public:
  // Tokens that are held from call to call, and encoded ahead.
  static constexpr int64_t kHeldTokens = 8192;

  // Throws as PromptEncoder does.
  PromptFeatures(const ModelFolder& folder, const PromptEncoderOptions& options)
      : encoder_(folder, options) {}

  int64_t channels() const { return encoder_.channels(); }
  // Tokens of each prompt. Throws Error(kUsage) for a prompt that is none.
  std::vector<int64_t> lengths(std::span<const std::string> prompts) const {
    return encoder_.lengths(prompts);
  }

  // Makes at() work for all of these. Returns what to tell people.
  std::vector<std::string> hold(const Context& context, std::span<const std::string> prompts);
  bool holds(const std::string& prompt) const { return held_.contains(prompt); }
  // [tokens, channels] of a prompt that is held.
  const Tensor& at(const std::string& prompt) const { return held_.at(prompt); }

  // What encoding prompts of these lengths takes at once.
  T5Memory memory(const Context& context, std::span<const int64_t> lengths) const {
    return encoder_.memory(context, lengths);
  }

 private:
  void make_room(std::span<const std::string> wanted);

  PromptEncoder encoder_;
  std::map<std::string, Tensor> held_;
};

}  // namespace nextscale
