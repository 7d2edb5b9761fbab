// SPDX-License-Identifier: Apache-2.0
// Linear layers with our own product, for CPUs where oneDNN has none whose rows are independent of
// their number: f32 without AVX-512, bf16 without AVX512-BF16. Weights are held in f32, so bf16
// saves no memory here.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

std::unique_ptr<Linear> make_panel_linear(const LinearSpec& spec, const LinearWeights& weights);

// What such a layer holds.
size_t panel_linear_bytes(const LinearSpec& spec);

}  // namespace nextscale::kernels::cpu
