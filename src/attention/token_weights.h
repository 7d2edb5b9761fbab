// SPDX-License-Identifier: Apache-2.0
// Tokens that stand for several: what is dropped gives its weight, and its value by that weight, to
// the most similar token that stays (policies/mass.cc). Allocates nothing.
#pragma once

#include <span>

#include "attention/candidates.h"
#include "attention/merge_tokens.h"
#include "core/arena.h"
#include "kernels/kernels.h"

namespace nextscale {

// Workspace, for at most so many staying tokens.
struct WeightSpace {
  std::span<float> directions;  // [staying, head_dim] keys of length 1
  std::span<double> values;     // [staying, head_dim] sums
  std::span<double> weights;    // [staying] sums
  // Dropped tokens are placed together, kMergeBlock at a time.
  std::span<float> dropped;    // [kMergeBlock, head_dim] keys
  std::span<int32_t> nearest;  // [kMergeBlock]
  std::span<float> products;   // [kMergeBlock]
  std::span<float> row;        // [head_dim]
  std::span<std::byte> workspace;

  static WeightSpace take(Arena& arena, const kernels::KernelTable& kernels, int64_t max_staying,
                          int64_t head_dim);
  static size_t bytes(const kernels::KernelTable& kernels, int64_t max_staying, int64_t head_dim);
};

// Candidates and how many tokens each of them stands for.
struct WeighedCandidates {
  Candidates tokens;
  std::span<const float> weights;  // [tokens.count()]
};

// Keys, mean values and weights of the candidates at the ascending positions `staying` once all
// others have been dropped. weights: [staying].
void gather_weights(const kernels::KernelTable& kernels, const WeighedCandidates& candidates,
                    std::span<const int32_t> staying, WeightSpace& space, const MergedTokens& out,
                    std::span<float> weights);

}  // namespace nextscale
