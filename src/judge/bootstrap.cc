// SPDX-License-Identifier: Apache-2.0
#include "judge/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/rng.h"

namespace nextscale {
namespace {

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double resampled_mean(std::span<const double> values, uint64_t seed, int64_t resample) {
  const auto count = static_cast<uint32_t>(values.size());
  double sum = 0;
  for (uint32_t draw = 0; draw < count; ++draw) {
    const RandomSite site{.seed = seed, .scale = static_cast<uint32_t>(resample), .position = draw};
    sum += values[static_cast<size_t>(static_cast<double>(uniform(site, 0)) * count)];
  }
  return sum / count;
}

double quantile(const std::vector<double>& sorted, double probability) {
  const double place = probability * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

}  // namespace

MeanInterval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  if (values.empty()) return {};
  std::vector<double> means;
  for (int64_t resample = 0; resample < options.resamples; ++resample) {
    means.push_back(resampled_mean(values, options.seed, resample));
  }
  std::ranges::sort(means);
  const double tail = (1 - options.coverage) / 2;
  return {.mean = mean_of(values),
          .low = quantile(means, tail),
          .high = quantile(means, 1 - tail),
          .count = static_cast<int64_t>(values.size())};
}

}  // namespace nextscale
