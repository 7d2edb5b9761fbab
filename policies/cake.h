// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// `cake`: budget, window, kernel, gamma, tau1, tau2, alloc. Throws Error(kUsage) for other settings
// or bad values.
std::unique_ptr<Policy> make_cake(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
