// SPDX-License-Identifier: Apache-2.0
// One element of an f32, bf16 or i8 array; the first two are what kernels write.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace nextscale::kernels::ref {

inline double load(const void* data, DType dtype, int64_t index) {
  if (dtype == DType::kI8) return static_cast<const int8_t*>(data)[index];
  if (dtype == DType::kBF16) return to_f32(static_cast<const BFloat16*>(data)[index]);
  return static_cast<const float*>(data)[index];
}

inline void store(void* data, DType dtype, int64_t index, double value) {
  const float rounded = static_cast<float>(value);
  if (dtype == DType::kBF16) {
    static_cast<BFloat16*>(data)[index] = to_bf16(rounded);
  } else {
    static_cast<float*>(data)[index] = rounded;
  }
}

}  // namespace nextscale::kernels::ref
