// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// `snapkv`: budget, window, kernel, pool, protect. Throws Error(kUsage) for other settings or bad
// values.
std::unique_ptr<Policy> make_snapkv(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
