// SPDX-License-Identifier: Apache-2.0
// How sure a mean over pictures is. Pure functions; thread safe.
#pragma once

#include <cstdint>
#include <span>

namespace nextscale {

struct MeanInterval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

inline constexpr int kBootstrapResamples = 1000;
inline constexpr double kBootstrapLevel = 0.95;

// The mean of the values and its percentile bootstrap interval at kBootstrapLevel (Efron and
// Tibshirani: "An Introduction to the Bootstrap", 1993, chapter 13): values drawn with replacement,
// kBootstrapResamples times. A function of the values and the seed. `values` is not empty.
MeanInterval bootstrap_mean(std::span<const double> values, uint64_t seed);

}  // namespace nextscale
