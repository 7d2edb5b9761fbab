// SPDX-License-Identifier: Apache-2.0
#include "attention/candidates.h"

#include <algorithm>
#include <array>

namespace nextscale {
namespace {

// Independent sums that a compiler may keep in vector registers without reordering additions.
constexpr int64_t kLanes = 8;

}  // namespace

void Candidates::read(CandidatePart part, int64_t position, float* out) const {
  const bool is_cached = position < cached.tokens;
  const kernels::KvSegment& segment = is_cached ? cached : current;
  const int64_t token = is_cached ? position : position - cached.tokens;
  const bool keys = part == CandidatePart::kKeys;
  const void* data = keys ? segment.k : segment.v;
  const float* factors = keys ? segment.k_factors : segment.v_factors;
  if (segment.dtype == DType::kF32) {
    std::copy_n(static_cast<const float*>(data) + token * head_dim, head_dim, out);
  } else if (segment.dtype == DType::kBF16) {
    const auto* row = static_cast<const BFloat16*>(data) + token * head_dim;
    for (int64_t feature = 0; feature < head_dim; ++feature) out[feature] = to_f32(row[feature]);
  } else {
    const auto* row = static_cast<const int8_t*>(data) + token * head_dim;
    const float factor = factors[token];
    for (int64_t feature = 0; feature < head_dim; ++feature) {
      out[feature] = static_cast<float>(row[feature]) * factor;
    }
  }
}

void store_row(const float* row, int64_t head_dim, DType dtype, void* out) {
  if (dtype == DType::kF32) {
    std::copy_n(row, head_dim, static_cast<float*>(out));
    return;
  }
  auto* stored = static_cast<BFloat16*>(out);
  for (int64_t feature = 0; feature < head_dim; ++feature) {
    stored[feature] = to_bf16(row[feature]);
  }
}

double dot(const float* left, const float* right, int64_t count) {
  std::array<double, kLanes> lanes{};
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[static_cast<size_t>(lane)] +=
          static_cast<double>(left[at + lane]) * static_cast<double>(right[at + lane]);
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (; at < count; ++at) sum += static_cast<double>(left[at]) * static_cast<double>(right[at]);
  return sum;
}

}  // namespace nextscale
