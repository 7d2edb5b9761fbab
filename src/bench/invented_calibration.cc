// SPDX-License-Identifier: Apache-2.0
#include "bench/invented_calibration.h"

#include "core/rng.h"

namespace nextscale {

Calibration invented_calibration(const Geometry& geometry, uint64_t seed) {
  Calibration result = flat_calibration(geometry);
  const auto random = [seed](size_t list, size_t index) {
    return static_cast<double>(uniform({.seed = seed,
                                        .scale = static_cast<uint32_t>(list),
                                        .position = static_cast<uint32_t>(index)},
                                       0));
  };
  const auto steps = static_cast<size_t>(geometry.num_scales());
  for (size_t row = 0; row < result.mass.size(); row += steps) {
    double sum = 0;
    for (size_t source = 0; source < steps; ++source) {
      double& mass = result.mass[row + source];
      sum += mass *= random(0, row + source);
    }
    for (size_t source = 0; source < steps; ++source) result.mass[row + source] /= sum;
  }
  for (size_t list = 0; list < result.sigma.size(); ++list) result.sigma[list] = random(1, list);
  for (size_t at = 0; at < result.asi.size(); ++at) {
    if (at % steps != 0) result.asi[at] = random(2, at);
  }
  return result;
}

}  // namespace nextscale
