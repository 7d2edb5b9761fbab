// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inspect_model.h"

namespace nextscale::cli {

// Prints what a calibration file says about itself; as JSON also the variance of its heads, and
// what the policy of --kv makes of it.
void inspect_calibration(const ModelInspection& options);

}  // namespace nextscale::cli
