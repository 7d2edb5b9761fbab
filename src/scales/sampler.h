// SPDX-License-Identifier: Apache-2.0
// From logits to labels: top-k, top-p, greedy, and Gumbel smoothing (specs/var.md section 5). A
// label is a token of a vocabulary or one of the bits of a token (two categories). Pure functions
// of logits and random site; rows may be sampled in any order.
#pragma once

#include <cstdint>
#include <span>

#include "core/context.h"
#include "core/rng.h"

namespace nextscale {

enum class Draw { kRandom, kGreedy };
enum class Smoothing { kOff, kOn };

struct SamplerSettings {
  int64_t top_k = 0;   // keep this many logits and their ties; 0: all
  float top_p = 0.0F;  // keep the likeliest tokens of this total probability; 0: all
  Draw draw = Draw::kRandom;
  Smoothing smoothing = Smoothing::kOff;
};

// Sets the logits that the filters remove to -infinity. `order` is working memory, as long as
// `row`.
void filter_logits(const SamplerSettings& settings, std::span<float> row, std::span<int32_t> order);

// Draws a token from softmax(row); `u` is uniform in [0, 1).
int32_t draw_token(std::span<const float> row, float u);

// Lowest index of the largest logit.
int32_t greedy_token(std::span<const float> row);

// Turns filtered logits into the weights of a token mixture:
// softmax((row * (1 + ratio) + noise) / max(0.27 (1 - 0.95 ratio), 0.005)), ratio = k / (S - 1).
// `noise` is standard Gumbel, one per entry; entries of -infinity get weight 0.
void smooth_logits(std::span<float> row, float ratio, std::span<const float> noise);

// One group of logits [images, tokens, labels per token, categories] of a scale.
struct SampleArgs {
  SamplerSettings settings;
  float* logits = nullptr;  // overwritten; with smoothing by the mixture's weights
  int64_t images = 0;
  int64_t tokens = 0;
  int64_t labels_per_token = 1;  // with smoothing 1
  int64_t categories = 0;
  float ratio = 0.0F;  // k / (S - 1)
  uint64_t seed = 0;
  uint32_t scale = 0;
  std::span<const uint32_t> image_indices;  // of each image in its request
  int32_t* out = nullptr;                   // [images, tokens, labels per token]
};

// Takes sampler_scratch_bytes() from context.scratch. Throws Error(kBadFile) if a logit is not a
// finite number.
void sample_labels(const Context& context, const SampleArgs& args);
size_t sampler_scratch_bytes(const Context& context, int64_t categories);

}  // namespace nextscale
