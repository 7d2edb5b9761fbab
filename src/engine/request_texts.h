// SPDX-License-Identifier: Apache-2.0
// The texts of a request: how long they are is known at once, for plans; their features are there
// when a batch needs them, from a file or from the model's text encoder. One call at a time.
#pragma once

#include <string>
#include <vector>

#include "engine/prompt_features.h"
#include "models/model.h"
#include "nextscale/engine.h"
#include "text/text_features.h"

namespace nextscale {

// Memory of texts, in bytes.
struct TextBytes {
  size_t encoding = 0;   // while prompts are encoded, results included
  size_t features = 0;   // held while pictures are made
  bool repeats = false;  // encoding comes back between batches
};

class RequestTexts {
 public:
  explicit RequestTexts(TextFeatures file);
  // Borrows the features' store. Throws as its lengths() does.
  RequestTexts(PromptFeatures& store, const std::vector<Prompt>& prompts);

  int64_t count() const { return static_cast<int64_t>(lengths_.size()); }
  // No text is longer; without features.
  TextCondition longest() const;
  // For batches of so many images.
  TextBytes bytes(const Context& context, int64_t images) const;

  // Makes at() work for texts [first, first + count); encodes later ones along with them. Returns
  // what to tell people.
  std::vector<std::string> hold(const Context& context, int64_t first, int64_t count);
  TextCondition at(int64_t subject) const;

 private:
  int64_t tokens_of(int64_t subject) const;
  // The prompts of these subjects: texts and negative texts.
  std::vector<std::string> prompts_of(int64_t first, int64_t end) const;

  TextFeatures file_;                   // of a file; nothing of prompts
  PromptFeatures* store_ = nullptr;     // of prompts; null for a file
  std::vector<Prompt> prompts_;         // likewise
  std::vector<TextCondition> lengths_;  // without features
};

}  // namespace nextscale
