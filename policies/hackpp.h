// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "policies/budget.h"
#include "policies/head_calibration.h"
#include "policies/policy.h"

namespace nextscale {

// Knobs of HACK++; where the defaults come from is said in hackpp.cc.
struct HackppSettings {
  Budget attention{.share = 0.3, .tokens = 0};
  Budget cache{.share = 0.1, .tokens = 0};
  double tau = 1.0;
  int64_t observed = 32;
  int64_t kernel = 5;
  int64_t floor = 1;
  std::vector<int> protected_scales;
};

// Lengths of every (step, layer, class): [steps, layers, classes].
struct HackppPlan {
  std::vector<int64_t> attended;
  std::vector<int64_t> cached;
};

// group_sizes [layers, classes], reliance [layers, classes, steps].
HackppPlan hackpp_plan(const Geometry& geometry, std::span<const int64_t> group_sizes,
                       std::span<const float> reliance, const HackppSettings& settings);

// The calibration must be of this geometry.
std::unique_ptr<Policy> make_hackpp(const HackppSettings& settings, const Geometry& geometry,
                                    HeadCalibration calibration);

}  // namespace nextscale
