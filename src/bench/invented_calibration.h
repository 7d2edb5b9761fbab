// SPDX-License-Identifier: Apache-2.0
// A calibration for benchmarks of shapes without weights: heads differ in variance and in what they
// rely on, as those of real models do. It says nothing about any model.
#pragma once

#include "core/geometry.h"
#include "policies/calibration.h"

namespace nextscale {

Calibration invented_calibration(const Geometry& geometry, uint64_t seed);

}  // namespace nextscale
