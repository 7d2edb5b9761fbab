// SPDX-License-Identifier: Apache-2.0
// Merging evicted tokens into kept ones (LOOK-M, arXiv 2406.18139; methods.md 2.5). Allocates
// nothing.
#pragma once

#include <span>

#include "attention/candidates.h"
#include "core/arena.h"
#include "policies/policy.h"

namespace nextscale {

inline constexpr int64_t kMergeBlock = 64;

// What merging gives: one key and value per kept token, in the dtype of the current tokens.
struct MergedTokens {
  std::byte* k = nullptr;       // [kept, head_dim]
  std::byte* v = nullptr;       // as k
  std::span<uint8_t> absorbed;  // [kept] 1 if an evicted token went into it, else it is unchanged

  static MergedTokens take(Arena& arena, int64_t max_kept, int64_t head_dim, DType dtype);
  static size_t bytes(int64_t max_kept, int64_t head_dim, DType dtype);
};

// Workspace of merging.
struct MergeSpace {
  std::span<double> keys;        // [kept, head_dim] sums
  std::span<double> values;      // [kept, head_dim] sums
  std::span<float> kept_keys;    // [kept, head_dim] before merging
  std::span<float> kept_values;  // [kept, head_dim] before merging
  std::span<float> unit_keys;    // [kept, head_dim] of length 1
  std::span<int32_t> members;    // [kept] tokens that went into each, itself included
  // Evicted tokens are placed together, kMergeBlock at a time.
  std::span<float> block_keys;    // [kMergeBlock, head_dim]
  std::span<float> block_values;  // [kMergeBlock, head_dim]
  std::span<int32_t> nearest;     // [kMergeBlock] kept token of the largest similarity
  std::span<float> products;      // [kMergeBlock] with its unit key
  std::span<std::byte> workspace;

  static MergeSpace take(Arena& arena, const kernels::KernelTable& kernels, int64_t max_kept,
                         int64_t head_dim);
  static size_t bytes(const kernels::KernelTable& kernels, int64_t max_kept, int64_t head_dim);
};

// Merges every candidate that is not in the ascending list `kept` into the kept one whose key has
// the largest cosine similarity (the first on ties); values follow their keys.
void merge_tokens(const kernels::KernelTable& kernels, Merge mode, const Candidates& candidates,
                  std::span<const int32_t> kept, MergeSpace& space, const MergedTokens& out);

}  // namespace nextscale
