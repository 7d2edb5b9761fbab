// SPDX-License-Identifier: Apache-2.0
// What one head may attend, cached tokens first, read as f32 whatever the cache's dtype is.
#pragma once

#include "core/dtype.h"
#include "kernels/kernels.h"

namespace nextscale {

enum class CandidatePart { kKeys, kValues };

struct Candidates {
  kernels::KvSegment cached;
  kernels::KvSegment current;
  int64_t head_dim = 0;

  int64_t count() const { return cached.tokens + current.tokens; }
  // Writes the key or value of the candidate at `position`: out [head_dim].
  void read(CandidatePart part, int64_t position, float* out) const;
};

// f32 to f32 or bf16.
void store_row(const float* row, int64_t head_dim, DType dtype, void* out);

// Accumulated in double, in an order of its own that does not depend on the machine.
double dot(const float* left, const float* right, int64_t count);

}  // namespace nextscale
