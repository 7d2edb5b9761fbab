// SPDX-License-Identifier: Apache-2.0
// Checks of the transformer and decoder of Infinity against the official implementation.
#pragma once

#include "golden/golden_case.h"
#include "nextscale/engine.h"

namespace nextscale::golden {

// Every intermediate in f32; bits exactly.
void check_infinity_f32(const GoldenCase& golden, Backend backend);

// Logits with the golden bits forced at every scale, by the rule for reduced precision.
void check_infinity_forced(const GoldenCase& golden, Precision precision);

}  // namespace nextscale::golden
