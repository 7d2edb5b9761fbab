// SPDX-License-Identifier: Apache-2.0
// A calibration for tests: made up, and different for every head, layer and step.
#pragma once

#include "policies/calibration.h"

namespace nextscale {

inline Calibration made_up_calibration(const Geometry& geometry) {
  Calibration result = flat_calibration(geometry);
  for (size_t at = 0; at < result.mass.size(); ++at) {
    result.mass[at] *= 1.0 + static_cast<double>(at * 7 % 13) / 13;
  }
  for (size_t at = 0; at < result.sigma.size(); ++at) {
    result.sigma[at] = static_cast<double>(at * 5 % 7);
  }
  for (size_t at = 0; at < result.asi.size(); ++at) {
    result.asi[at] = static_cast<double>(at * 3 % 5) / 5;
  }
  return result;
}

}  // namespace nextscale
