// SPDX-License-Identifier: Apache-2.0
// A comparison as one HTML page: what the policies cost and change, in tables, and pictures side by
// side with maps of their differences. Self-contained, without scripts, for light and dark screens.
#pragma once

#include <string>

#include "compare/comparison.h"

namespace nextscale {

// `model` is its name, for the heading.
std::string comparison_page(const Comparison& comparison, const std::string& model);

}  // namespace nextscale
