// SPDX-License-Identifier: Apache-2.0
// A convolution over a whole picture, run strip by strip so that its working memory is bounded.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "blocks/weight_loader.h"
#include "core/context.h"
#include "kernels/kernels.h"

namespace nextscale {

struct StripConvShape {
  int64_t side = 0;  // pixels of the output's rows and columns
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t kernel = 3;
  size_t strip_bytes = 0;  // for the input and the output of one strip
};

class StripConv {
 public:
  StripConv() = default;
  StripConv(const StripConvShape& shape, const std::string& name, WeightLoader& loader);

  // `input` names the picture and what happens to it on the way in (rows are filled in here);
  // consume(first_row, rows, y) gets each strip [rows, side, out_channels], top to bottom.
  template <typename Consume>
  void run(const Context& context, kernels::GatherRowsArgs input, Consume consume) const {
    const ArenaScope scope(*context.scratch);
    const Strip strip = take_strip(*context.scratch);
    for (int64_t row = 0; row < shape_.side; row += strip_rows_) {
      const int64_t rows = std::min(strip_rows_, shape_.side - row);
      run_strip(context, &input, row, rows, strip);
      consume(row, rows, strip.output);
    }
  }

  // Writes the picture [side, side, out_channels] to `out`, which must not be the input.
  void run_to(const Context& context, const kernels::GatherRowsArgs& input, float* out) const;

  // What such a convolution holds, and takes from context.scratch while it runs.
  static kernels::ConvBytes bytes(const Context& context, const StripConvShape& shape);
  const StripConvShape& shape() const { return shape_; }

 private:
  struct Strip {
    float* input;
    float* output;
  };

  Strip take_strip(Arena& scratch) const;
  void run_strip(const Context& context, kernels::GatherRowsArgs* input, int64_t row, int64_t rows,
                 const Strip& strip) const;

  StripConvShape shape_;
  int64_t strip_rows_ = 0;
  std::unique_ptr<kernels::Conv> conv_;
};

}  // namespace nextscale
