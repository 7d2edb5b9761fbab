// SPDX-License-Identifier: Apache-2.0
// Convolutions over whole pictures, run strip by strip so that their working memory is bounded:
// StripConv reads a picture that is held, ConvStream one whose rows arrive from top to bottom.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "blocks/weight_loader.h"
#include "core/context.h"
#include "core/geometry.h"
#include "kernels/kernels.h"

namespace nextscale {

struct StripConvShape {
  Grid size;  // pixels of the output
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
  // consume(first_row, rows, y) gets each strip [rows, width, out_channels], top to bottom. Rows of
  // the input above first_row - 1 are not read again after a strip was consumed.
  template <typename Consume>
  void run(const Context& context, kernels::GatherRowsArgs input, Consume consume) const {
    const ArenaScope scope(*context.scratch);
    const Strip strip = take_strip(*context.scratch);
    for (int64_t row = 0; row < shape_.size.height; row += strip_rows_) {
      const int64_t rows = rows_at(row);
      run_strip(context, input, row, strip);
      consume(row, rows, strip.output);
    }
  }

  // Writes the picture [height, width, out_channels] to `out`, which must not be the input.
  void run_to(const Context& context, const kernels::GatherRowsArgs& input, float* out) const;

  // What such a convolution holds, and takes from context.scratch while it runs.
  static kernels::ConvBytes bytes(const Context& context, const StripConvShape& shape);
  const StripConvShape& shape() const { return shape_; }

 private:
  friend class ConvStream;

  struct Strip {
    float* input;
    float* output;
  };

  int64_t rows_at(int64_t row) const { return std::min(strip_rows_, shape_.size.height - row); }
  Strip take_strip(Arena& scratch) const;
  // The strip that starts at `row`.
  void run_strip(const Context& context, kernels::GatherRowsArgs input, int64_t row,
                 const Strip& strip) const;

  StripConvShape shape_;
  int64_t strip_rows_ = 0;
  std::unique_ptr<kernels::Conv> conv_;
};

// A 3x3 convolution of a picture that arrives in strips. Holds the rows that its next strip needs
// in scratch memory taken at construction; borrows the convolution.
class ConvStream {
 public:
  // `treatment` is what happens to the picture on the way in, without its place and rows; strips
  // that arrive have at most `incoming_rows` rows.
  ConvStream(const StripConv& conv, const kernels::GatherRowsArgs& treatment, int64_t incoming_rows,
             Arena& scratch);

  // Takes the next rows [rows, width, in_channels] and calls consume(first_row, rows, y) for each
  // strip of the result that can be computed now.
  template <typename Consume>
  void push(const Context& context, const float* rows, int64_t num_rows, Consume consume) {
    append(rows, num_rows);
    while (next_row_ < height() && has_input()) {
      const int64_t count = conv_.rows_at(next_row_);
      treatment_.x = window_;
      treatment_.first_held = window_first_;
      conv_.run_strip(context, treatment_, next_row_, strip_);
      const int64_t row = next_row_;
      next_row_ += count;
      consume(row, count, strip_.output);
    }
  }

  // Scratch bytes that such a stream takes, what the convolution itself takes included.
  static size_t bytes(const Context& context, const StripConvShape& shape, int64_t incoming_rows);
  // Rows of the strips that a convolution of this shape computes.
  static int64_t strip_rows(const StripConvShape& shape);

 private:
  int64_t height() const { return conv_.shape_.size.height; }
  bool has_input() const;
  void append(const float* rows, int64_t num_rows);

  const StripConv& conv_;
  kernels::GatherRowsArgs treatment_;
  StripConv::Strip strip_;
  float* window_;        // rows [window_first_, window_end_)
  int64_t window_rows_;  // that it has room for
  int64_t window_first_ = 0;
  int64_t window_end_ = 0;
  int64_t next_row_ = 0;  // of the result
};

}  // namespace nextscale
