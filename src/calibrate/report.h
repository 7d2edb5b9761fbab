// SPDX-License-Identifier: Apache-2.0
// A calibration as one HTML page that a person reads: which heads are contextual, how variances
// rank, who relies on the cache when, what a cache policy makes of it. Self-contained: drawings are
// SVG, the numbers stand in tables under them, nothing is loaded from elsewhere.
#pragma once

#include <string>

#include "calibrate/calibration_file.h"

namespace nextscale {

// `kv` is the setting whose budgets are shown; its alpha decides the head classes. Throws Error:
// kMismatch if nothing was measured, and whatever making the policy throws.
std::string calibration_report(const CalibrationFile& file, const std::string& kv);

}  // namespace nextscale
