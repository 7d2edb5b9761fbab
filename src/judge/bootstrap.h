// SPDX-License-Identifier: Apache-2.0
// How sure a mean of independent observations is: percentile bootstrap intervals (Efron,
// "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979; Efron and
// Tibshirani, "An introduction to the bootstrap", 1993, section 13.3). Thread safe: no state.
#pragma once

#include <cstdint>
#include <span>

namespace nextscale {

struct BootstrapOptions {
  int64_t resamples = 1000;
  double coverage = 0.95;
  uint64_t seed = 0;
};

// A mean with the interval that holds it with the wanted probability.
struct MeanInterval {
  double mean = 0;
  double low = 0;
  double high = 0;
  int64_t count = 0;  // observations
};

// The interval between the (1 - coverage) / 2 and (1 + coverage) / 2 quantiles, interpolated
// linearly, of the means of resamples drawn with replacement. Draw i of resample r is a function of
// (seed, r, i) alone. No observations: all zero.
MeanInterval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});

}  // namespace nextscale
