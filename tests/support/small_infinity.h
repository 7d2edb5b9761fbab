// SPDX-License-Identifier: Apache-2.0
// The official files of an Infinity model with random weights, small enough to generate in well
// under a second.
#pragma once

#include <filesystem>

#include "apps/random_checkpoint/random_infinity.h"
#include "models/text/t5_config.h"

namespace nextscale {

// Two layers of two heads; tokens of twelve bits and four pixels; prompts of up to 64 tokens.
RandomInfinityShape small_infinity_shape();
// One layer. Every character of a prompt is a token.
T5Config small_t5_config();

struct InfinityFiles {
  std::filesystem::path transformer;
  std::filesystem::path vae;
  std::filesystem::path text_encoder;
};
InfinityFiles write_small_infinity(const std::filesystem::path& folder);

}  // namespace nextscale
