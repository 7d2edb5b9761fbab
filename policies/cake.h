// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// The integer rule of the official code for layers of one length: proportional, rounded down,
// clipped to `cap`; what was clipped and what was rounded goes to the first layers below the cap,
// one token each in turn.
std::vector<int64_t> cake_official_budgets(std::span<const double> preferences, int64_t total,
                                           int64_t cap);

// `cake`: budget, window, kernel, gamma, tau1, tau2, alloc, protect. Throws Error(kUsage) for other
// settings or bad values.
std::unique_ptr<Policy> make_cake(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
