// SPDX-License-Identifier: Apache-2.0
// Means over the pictures of a comparison, with bootstrap intervals; and all of it as JSON
// (docs/formats.md). Pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "compare/bootstrap.h"
#include "compare/comparison.h"

namespace nextscale {

// How a policy differs from the reference.
struct DifferenceSummary {
  MeanInterval psnr{};
  MeanInterval ssim{};
  int64_t num_identical = 0;
  MeanInterval agreement{};                          // over all tokens
  MeanInterval divergence{};                         // likewise
  std::vector<MeanInterval> agreement_per_scale{};   // [scales]
  std::vector<MeanInterval> divergence_per_scale{};  // [scales]
};

// `policy` is not the reference.
DifferenceSummary summarize(const Comparison& comparison, size_t policy);

// Of one picture, of all scales, in ms.
MeanInterval mean_time(const PolicyMeasures& policy);

nlohmann::json to_json(const Comparison& comparison);

}  // namespace nextscale
