// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// `meda`: budget, heavy_ratio, obs, protect, merge, alloc. Throws Error(kUsage) for other settings
// or bad values.
std::unique_ptr<Policy> make_meda(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
