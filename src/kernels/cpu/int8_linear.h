// SPDX-License-Identifier: Apache-2.0
// Linear layers in eight bits. Rows of x are taken in blocks that stay in the cache: rounded,
// multiplied as whole numbers (int8_product.h) and turned into y (int8_rows.h), so that temporary
// memory does not grow with the number of rows. Thread safety as of kernels::Linear.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

std::unique_ptr<Linear> make_int8_linear(const Context& context, const LinearSpec& spec,
                                         const LinearWeights& weights);

// What such a layer holds.
size_t int8_linear_bytes(const Context& context, const LinearSpec& spec);

// What run() takes from context.scratch.
size_t int8_linear_scratch(const LinearSpec& spec, int64_t rows);

}  // namespace nextscale::kernels::cpu
