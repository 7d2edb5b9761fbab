// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {

void group_sums(const Context& /*context*/, const GroupSumsArgs& args) {
  const int64_t group_channels = args.channels / args.groups;
  const float* x = args.x;
  for (int64_t pixel = 0; pixel < args.rows * args.width; ++pixel) {
    for (int64_t channel = 0; channel < args.channels; ++channel, ++x) {
      const auto group = static_cast<size_t>(channel / group_channels);
      args.sums->values[group] += double{*x};
      args.sums->squares[group] += double{*x} * double{*x};
    }
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
      const int64_t pixel = (source_row / factor - args.first_held) * args.width + column / factor;
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
