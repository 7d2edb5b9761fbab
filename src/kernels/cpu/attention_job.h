// SPDX-License-Identifier: Apache-2.0
// One job of the fast attention kernel: some of the queries of one (row, kv head), against all its
// keys. The query heads of a group are rows one below the other; keys come in blocks. Every size
// here is independent of threads, batch and of where a key lies, and so are results.
#pragma once

#include "kernels/cpu/panels.h"
#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

// Keys are packed [panel][head_dim][kPanelKeys], so that a tile of scores reads whole vectors.
inline constexpr int64_t kPanelKeys = kPanelColumns;
// The softmax is renewed once per block. A block's keys and values stay in the L2 cache.
inline constexpr int64_t kBlockKeys = 256;
// Queries that go through one panel while it is in the L1 cache.
inline constexpr int64_t kBlockQueries = 48;
// From one query's scores to the next; the excess keeps them off the same cache sets.
inline constexpr int64_t kScoreStride = kBlockKeys + 16;
// Rows of values and outputs are padded to whole vectors.
inline int64_t padded_head_dim(int64_t head_dim) {
  return (head_dim + kVectorFloats - 1) / kVectorFloats * kVectorFloats;
}

struct AttentionJob {
  const AttentionArgs* args = nullptr;
  const AttentionHead* head = nullptr;
  int64_t row = 0;
  int64_t kv_head = 0;
  // Of the group's rows [query_heads / kv_heads, queries].
  int64_t first_query = 0;
  int64_t num_queries = 0;
};

// Memory of one worker.
struct AttentionWorkspace {
  float* keys = nullptr;     // [kBlockKeys / kPanelKeys, head_dim, kPanelKeys]
  float* values = nullptr;   // [kBlockKeys, padded_head_dim]
  float* scores = nullptr;   // [kBlockQueries, kScoreStride]
  float* out = nullptr;      // [queries of a job, padded_head_dim], not yet divided by total
  float* highest = nullptr;  // [queries of a job], of the scores so far
  float* total = nullptr;    // [queries of a job], sum of the weights so far
};

}  // namespace nextscale::kernels::cpu
