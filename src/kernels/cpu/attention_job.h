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
inline constexpr int64_t kBlockKeys = 640;
// Queries that go through one panel while it is in the L1 cache.
inline constexpr int64_t kBlockQueries = 48;
// From one query's scores to the next; the excess keeps them off the same cache sets.
inline constexpr int64_t kScoreStride = kBlockKeys + 16;
// Rows of values and outputs are padded to whole vectors.
inline int64_t padded_head_dim(int64_t head_dim) {
  return (head_dim + kVectorFloats - 1) / kVectorFloats * kVectorFloats;
}

// Values are packed [padded_head_dim / kPanelColumns][kBlockKeys in units][kPanelColumns], so that
// a tile of outputs reads on without a gap. Where a feature of the block's first unit lies:
inline int64_t value_place(int64_t feature) {
  return feature / kPanelColumns * kBlockKeys * kPanelColumns + feature % kPanelColumns;
}

struct AttentionJob {
  const AttentionArgs* args = nullptr;
  const AttentionHead* head = nullptr;
  int64_t row = 0;
  int64_t kv_head = 0;
  // Of the group's rows [query_heads / kv_heads, queries].
  int64_t first_query = 0;
  int64_t num_queries = 0;
  bool in_pairs = false;  // of bf16, if the instruction set has them
};

// Memory of one worker. A unit is an f32 or a pair of bf16 values: what one step of a product
// takes.
struct AttentionWorkspace {
  const float* q = nullptr;  // [queries of a job, head_dim in units]
  float* pairs = nullptr;    // likewise, where queries are rounded to
  float* keys = nullptr;     // [kBlockKeys / kPanelKeys, head_dim in units, kPanelKeys]
  float* values = nullptr;   // see value_place()
  float* scores = nullptr;   // [kBlockQueries, kScoreStride]
  float* out = nullptr;      // [queries of a job, padded_head_dim], not yet divided by total
  float* highest = nullptr;  // [queries of a job], of the scores so far
  float* total = nullptr;    // [queries of a job], sum of the weights so far
};

}  // namespace nextscale::kernels::cpu
