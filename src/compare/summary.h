// SPDX-License-Identifier: Apache-2.0
// Means over the pictures of a comparison, with bootstrap intervals; and all of it as JSON
// (docs/formats.md). Pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "compare/comparison.h"
#include "judge/bootstrap.h"

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

// Shares of the pictures that the judge passes, by attribute ("single", "color", ...), as far as
// something is expected; and as "same", of those where it sees what it sees in the reference's.
std::vector<std::pair<std::string, MeanInterval>> judge_scores(const PolicyMeasures& policy);

// Of one picture, of all scales, in ms.
MeanInterval mean_time(const PolicyMeasures& policy);

nlohmann::json to_json(const Comparison& comparison);

}  // namespace nextscale
