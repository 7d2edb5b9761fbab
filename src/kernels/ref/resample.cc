// SPDX-License-Identifier: Apache-2.0
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {

void resample(const Context& /*context*/, const ResampleArgs& args) {
  for (int64_t out_row = 0; out_row < args.out_height; ++out_row) {
    for (int64_t column = 0; column < args.in_width; ++column) {
      for (int64_t channel = 0; channel < args.channels; ++channel) {
        double sum = 0.0;
        for (int64_t row = 0; row < args.in_height; ++row) {
          sum += double{args.rows[out_row * args.in_height + row]} *
                 args.x[(row * args.in_width + column) * args.channels + channel];
        }
        args.scratch[(out_row * args.in_width + column) * args.channels + channel] =
            static_cast<float>(sum);
      }
    }
  }
  for (int64_t out_row = 0; out_row < args.out_height; ++out_row) {
    for (int64_t out_column = 0; out_column < args.out_width; ++out_column) {
      for (int64_t channel = 0; channel < args.channels; ++channel) {
        double sum = 0.0;
        for (int64_t column = 0; column < args.in_width; ++column) {
          sum += double{args.columns[out_column * args.in_width + column]} *
                 args.scratch[(out_row * args.in_width + column) * args.channels + channel];
        }
        args.out[(out_row * args.out_width + out_column) * args.channels + channel] =
            static_cast<float>(sum);
      }
    }
  }
}

}  // namespace nextscale::kernels::ref
