// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// `full`: keeps everything. Throws Error(kUsage) if the spec has settings.
std::unique_ptr<Policy> make_full(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
