// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "policies/budget.h"
#include "policies/context.h"
#include "policies/head_calibration.h"
#include "policies/policy.h"
#include "policies/protection.h"
#include "policies/spec.h"

namespace nextscale {

// Along what budgets of the cache may differ (Table IX of the paper).
struct ReliesOn {
  bool step = true;
  bool layer = true;
  bool type = true;
};

// Which heads get which score (an ablation).
enum class HeadScores { kOwn, kContextual, kStructural, kSwapped };

// What the structural score multiplies (an ablation).
enum class StructuralScore { kPriorTimesNorm, kPrior, kNorm };

// Knobs of HACK++; where the defaults come from is said in hackpp.cc.
struct HackppSettings {
  Budget attention{.share = 0.3, .tokens = 0};
  Budget cache{.share = 0.1, .tokens = 0};
  double tau = 1.0;
  int64_t observed = 32;
  ObservedQueries sampling = ObservedQueries::kUniform;
  int64_t kernel = 5;
  int64_t floor = 1;
  ReliesOn axes = {};
  HeadScores scores = HeadScores::kOwn;
  StructuralScore structural = StructuralScore::kPriorTimesNorm;
  Protection protection = {};
};

// Lengths of every (step, layer, class): [steps, layers, classes].
struct HackppPlan {
  std::vector<int64_t> attended;
  std::vector<int64_t> cached;
};

// group_sizes [layers, classes], reliance [layers, classes, steps] (methods.md 11.3).
HackppPlan hackpp_plan(const Geometry& geometry, std::span<const int64_t> group_sizes,
                       std::span<const double> reliance, const HackppSettings& settings);

// `hackpp`: attn, cache, budget, alpha, tau, nobs, sampling, kernel, floor, axes, score,
// structural, protect. Throws Error(kUsage) for other settings or bad values, Error(kMismatch) if
// the calibration was not measured.
std::unique_ptr<Policy> make_hackpp(const PolicySpec& spec, const PolicyContext& context);

}  // namespace nextscale
