// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// `mass`: the settings of `hackpp`. Throws as make_hackpp does.
std::unique_ptr<Policy> make_mass(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
