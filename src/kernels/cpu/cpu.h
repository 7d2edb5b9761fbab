// SPDX-License-Identifier: Apache-2.0
// The fast kernels of kernels.h for this machine, one file per operator, same names as in ref/.
// Products and convolutions are oneDNN primitives; the rest is Highway code, compiled for several
// instruction sets and chosen at run time. Private to src/kernels.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

std::unique_ptr<Linear> make_linear(const Context& context, const LinearSpec& spec,
                                    const ConstTensorView& weight, const ConstTensorView& bias);

}  // namespace nextscale::kernels::cpu
