// SPDX-License-Identifier: Apache-2.0
// Features of prompts in a file: what a text encoder made elsewhere, given to a run instead of the
// prompts. A safetensors file with `text_features` [tokens, channels] for one prompt, or
// `text_features.0`, `text_features.1`, … for several, and, if wanted, `negative_text_features` in
// the same way, one for each prompt. Other tensors are left alone. Thread safe: no state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/tensor.h"

namespace nextscale {

struct TextFeatures {
  std::vector<Tensor> prompts;    // [tokens, channels] f32, at least one
  std::vector<Tensor> negatives;  // none, or as many as prompts
};

// What the model that reads them can take.
struct TextFeatureLimits {
  int64_t channels = 0;
  int64_t max_tokens = 0;
};

// Throws Error: kNotFound, kBadFile (damaged, or numbers that are not finite), kMismatch (other
// names or shapes), kIo.
TextFeatures read_text_features(const std::filesystem::path& path, const TextFeatureLimits& limits);

// How many prompts the file stands in for, by the names of its tensors alone. Throws Error:
// kNotFound, kBadFile, kMismatch, kIo.
int64_t count_text_features(const std::filesystem::path& path);

}  // namespace nextscale
