// SPDX-License-Identifier: Apache-2.0
// Memory of the fast column statistics, and how their queries are cut into panels.
#pragma once

#include "kernels/cpu/panels.h"

namespace nextscale::kernels::cpu {

// Memory of column_statistics(). Scores lie [candidates][stride], one column per query.
struct ColumnWorkspace {
  float* panel = nullptr;       // [head_dim, kPanelColumns] queries, transposed
  float* rows = nullptr;        // [kTileRows, head_dim] keys read as f32
  float* highest = nullptr;     // [kPanelColumns] score of each query
  float* total = nullptr;       // [kPanelColumns] sum of its weights; then the logarithm of it
  float* factor = nullptr;      // [kPanelColumns] makes weights of A; 0 behind the last query
  float* present = nullptr;     // [kPanelColumns] 1, or 0 behind the last query
  double* sums = nullptr;       // [candidates] of one query head
  double* spreads = nullptr;    // [candidates] sum of squared differences to the mean
  double* entropies = nullptr;  // [candidates]
  float* scores = nullptr;      // [candidates, stride]
  int64_t stride = 0;
};

// A panel's worth of the observed queries of one query head.
struct QueryPanel {
  int64_t before = 0;   // observed queries of the head that came earlier
  int64_t count = 0;    // at most kPanelColumns
  int64_t columns = 0;  // count, rounded up to whole vectors
};

inline int64_t whole_vectors(int64_t count) {
  return (count + kVectorFloats - 1) / kVectorFloats * kVectorFloats;
}

}  // namespace nextscale::kernels::cpu
