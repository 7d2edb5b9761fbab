// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {

void group_stats(const Context& /*context*/, const GroupStatsArgs& args) {
  const int64_t group_channels = args.channels / args.groups;
  const double count = static_cast<double>(args.pixels * group_channels);
  for (int64_t group = 0; group < args.groups; ++group) {
    const auto sum_over_group = [&](auto term) {
      double sum = 0.0;
      for (int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        const float* x = args.x + pixel * args.channels + group * group_channels;
        for (int64_t channel = 0; channel < group_channels; ++channel) sum += term(x[channel]);
      }
      return sum;
    };
    const double mean = sum_over_group([](double x) { return x; }) / count;
    const double variance =
        sum_over_group([mean](double x) { return (x - mean) * (x - mean); }) / count;
    args.mean[group] = static_cast<float>(mean);
    args.inverse[group] = static_cast<float>(1.0 / std::sqrt(variance + args.epsilon));
  }
}

void gather_rows(const Context& /*context*/, const GatherRowsArgs& args) {
  const int64_t factor = args.doubled ? 2 : 1;
  const int64_t width = args.width * factor;
  for (int64_t row = 0; row < args.rows; ++row) {
    const int64_t source_row = args.first_row + row;
    float* out = args.out + row * width * args.channels;
    if (source_row < 0 || source_row >= args.height * factor) {
      std::fill_n(out, width * args.channels, 0.0F);
      continue;
    }
    for (int64_t column = 0; column < width; ++column) {
      const int64_t pixel = source_row / factor * args.width + column / factor;
      for (int64_t channel = 0; channel < args.channels; ++channel) {
        double value = args.x[pixel * args.channels + channel];
        if (args.mean != nullptr) {
          const int64_t group = channel / (args.channels / args.groups);
          value = (value - args.mean[group]) * args.inverse[group] * args.weight[channel] +
                  args.bias[channel];
        }
        if (args.silu) value /= 1.0 + std::exp(-value);
        out[column * args.channels + channel] = static_cast<float>(value);
      }
    }
  }
}

}  // namespace nextscale::kernels::ref
