// SPDX-License-Identifier: Apache-2.0
// The Infinity models that were published (specs/infinity.md section 1). Constant data; thread
// safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/infinity/config.h"

namespace nextscale {

// Where one differs from the others.
struct PublishedInfinity {
  std::string_view name;
  int64_t layers = 0;
  int64_t chunks = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t latent_channels = 0;
  bool patchify = false;
  // What the authors recommend.
  std::string_view size = "1M";
  float cfg = 4.0F;
  float tau = 0.5F;

  int64_t width() const { return heads * head_dim; }
};

// 125m, 2b and 8b.
std::span<const PublishedInfinity> published_infinity();

// Null if there is none of this name.
const PublishedInfinity* find_published_infinity(std::string_view name);

// Width of the feed-forward layer of a transformer that is so wide.
int64_t infinity_ffn_width(int64_t width);

// Of all published models.
inline constexpr float kInfinityTopP = 0.97F;

InfinityConfig infinity_config(const PublishedInfinity& model);

}  // namespace nextscale
