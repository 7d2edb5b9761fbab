// SPDX-License-Identifier: Apache-2.0
// Inputs of benchmarks: arithmetic on zeros would say nothing.
#pragma once

#include "core/context.h"
#include "core/tensor.h"

namespace nextscale {

// Uniform values of variance 1 lie within the square root of 3.
inline constexpr float kUnitRange = 1.7320508F;

// Uniform in [-range, range]; f32 or bf16. A function of the seed.
Tensor random_values(const Context& context, DType dtype, const Shape& shape, float range,
                     uint64_t seed);

}  // namespace nextscale
