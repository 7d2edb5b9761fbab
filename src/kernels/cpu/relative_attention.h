// SPDX-License-Identifier: Apache-2.0
// One job of the fast relative attention kernel: one head of one sequence, with the memory of the
// worker that does it.
#pragma once

#include "kernels/cpu/panels.h"
#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

struct RelativeAttentionJob {
  const RelativeAttentionArgs* args = nullptr;
  int64_t first = 0;   // token
  int64_t tokens = 0;  // of the sequence
  int64_t head = 0;
};

// Rows are padded to whole panels.
struct RelativeAttentionWorkspace {
  float* keys = nullptr;    // [panels of tokens, head_dim, kPanelColumns]
  float* values = nullptr;  // [panels of head_dim, tokens, kPanelColumns]
  float* scores = nullptr;  // [kTileRows, tokens]
  float* out = nullptr;     // [kTileRows, head_dim], not yet divided by the sum of the weights
};

inline int64_t padded_to_panels(int64_t columns) { return num_panels(columns) * kPanelColumns; }

}  // namespace nextscale::kernels::cpu
