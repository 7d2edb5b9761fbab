// SPDX-License-Identifier: Apache-2.0
// The checks of a text encoder's golden case.
#pragma once

#include "golden/golden_case.h"
#include "kernels/kernels.h"

namespace nextscale::golden {

// True if the case is a T5 as Hugging Face publishes it.
bool is_text_case(const GoldenCase& golden);

void check_text_ids(const GoldenCase& golden);
void check_text_buckets(const GoldenCase& golden);
void check_text_features(const GoldenCase& golden, const kernels::KernelTable& kernels);

}  // namespace nextscale::golden
