// SPDX-License-Identifier: Apache-2.0
#include "compare/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error_format.h"
#include "core/rng.h"

namespace nextscale {
namespace {

double resampled_mean(std::span<const double> values, uint64_t seed, uint32_t resample) {
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (size_t draw = 0; draw < values.size(); ++draw) {
    const RandomSite site{.seed = seed, .image = resample, .scale = 0, .position = 0};
    const double u = uniform(site, static_cast<uint32_t>(draw));
    sum += values[static_cast<size_t>(u * count)];
  }
  return sum / count;
}

// Between the two nearest order statistics.
double quantile(std::span<const double> ascending, double share) {
  const double place = share * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, ascending.size() - 1);
  return std::lerp(ascending[below], ascending[above], place - static_cast<double>(below));
}

}  // namespace

MeanInterval bootstrap_mean(std::span<const double> values, uint64_t seed) {
  NEXTSCALE_ASSERT(!values.empty());
  std::vector<double> means;
  for (uint32_t resample = 0; resample < kBootstrapResamples; ++resample) {
    means.push_back(resampled_mean(values, seed, resample));
  }
  std::ranges::sort(means);
  constexpr double kTail = (1 - kBootstrapLevel) / 2;
  return {.mean = std::accumulate(values.begin(), values.end(), 0.0) /
                  static_cast<double>(values.size()),
          .low = quantile(means, kTail),
          .high = quantile(means, 1 - kTail)};
}

}  // namespace nextscale
