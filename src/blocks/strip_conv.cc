// SPDX-License-Identifier: Apache-2.0
#include "blocks/strip_conv.h"

#include <cstring>

#include "core/error_format.h"
#include "core/stage_times.h"

namespace nextscale {
namespace {

int64_t choose_strip_rows(const StripConvShape& shape) {
  const size_t row_bytes =
      static_cast<size_t>(shape.size.width * (shape.in_channels + shape.out_channels)) *
      sizeof(float);
  const auto affordable = static_cast<int64_t>(shape.strip_bytes / row_bytes);
  const int64_t height = shape.size.height;
  if (affordable >= height || height <= kernels::kConvRowAlignment) return height;
  return std::max<int64_t>(1, affordable / kernels::kConvRowAlignment) * kernels::kConvRowAlignment;
}

size_t input_floats(const StripConvShape& shape, int64_t rows) {
  return static_cast<size_t>((rows + shape.kernel - 1) * shape.size.width * shape.in_channels);
}

size_t output_floats(const StripConvShape& shape, int64_t rows) {
  return static_cast<size_t>(rows * shape.size.width * shape.out_channels);
}

kernels::ConvSpec conv_spec(const StripConvShape& shape) {
  return {.in_channels = shape.in_channels,
          .out_channels = shape.out_channels,
          .kernel = shape.kernel,
          .width = shape.size.width};
}

// Rows that are needed for a strip, and rows that may arrive before it is computed.
int64_t stream_rows(const StripConvShape& shape, int64_t incoming_rows) {
  return choose_strip_rows(shape) + shape.kernel - 1 + incoming_rows;
}

size_t window_floats(const StripConvShape& shape, int64_t rows) {
  return static_cast<size_t>(rows * shape.size.width * shape.in_channels);
}

}  // namespace

StripConv::StripConv(const StripConvShape& shape, const std::string& name, WeightLoader& loader)
    : shape_(shape), strip_rows_(choose_strip_rows(shape)) {
  conv_ = loader.conv(name, conv_spec(shape));
  conv_->prepare(strip_rows_);
  if (shape.size.height % strip_rows_ != 0) conv_->prepare(shape.size.height % strip_rows_);
}

kernels::ConvBytes StripConv::bytes(const Context& context, const StripConvShape& shape) {
  const int64_t rows = choose_strip_rows(shape);
  const kernels::ConvSpec spec = conv_spec(shape);
  kernels::ConvBytes bytes = context.kernels->conv_bytes(context, spec, rows);
  if (shape.size.height % rows != 0) {
    const size_t last =
        context.kernels->conv_bytes(context, spec, shape.size.height % rows).scratch;
    bytes.scratch = std::max(bytes.scratch, last);
  }
  bytes.scratch += Arena::rounded(input_floats(shape, rows) * sizeof(float)) +
                   Arena::rounded(output_floats(shape, rows) * sizeof(float));
  return bytes;
}

StripConv::Strip StripConv::take_strip(Arena& scratch) const {
  return {.input = scratch.take<float>(input_floats(shape_, strip_rows_)).data(),
          .output = scratch.take<float>(output_floats(shape_, strip_rows_)).data()};
}

void StripConv::run_strip(const Context& context, kernels::GatherRowsArgs input, int64_t row,
                          const Strip& strip) const {
  const int64_t rows = rows_at(row);
  input.first_row = row - shape_.kernel / 2;
  input.rows = rows + shape_.kernel - 1;
  input.out = strip.input;
  context.kernels->gather_rows(context, input);
  conv_->run(context, strip.input, strip.output, rows);
  count_operations(
      context.stages, Stage::kDecoder,
      2.0 * static_cast<double>(rows * shape_.size.width * shape_.kernel * shape_.kernel *
                                shape_.in_channels * shape_.out_channels));
}

void StripConv::run_to(const Context& context, const kernels::GatherRowsArgs& input,
                       float* out) const {
  const ArenaScope scope(*context.scratch);
  Strip strip{.input = context.scratch->take<float>(input_floats(shape_, strip_rows_)).data(),
              .output = nullptr};
  for (int64_t row = 0; row < shape_.size.height; row += strip_rows_) {
    strip.output = out + row * shape_.size.width * shape_.out_channels;
    run_strip(context, input, row, strip);
  }
}

ConvStream::ConvStream(const StripConv& conv, const kernels::GatherRowsArgs& treatment,
                       int64_t incoming_rows, Arena& scratch)
    : conv_(conv),
      treatment_(treatment),
      strip_(conv.take_strip(scratch)),
      window_rows_(stream_rows(conv.shape_, incoming_rows)) {
  window_ = scratch.take<float>(window_floats(conv.shape_, window_rows_)).data();
  treatment_.height = conv.shape_.size.height;
  treatment_.width = conv.shape_.size.width;
  treatment_.channels = conv.shape_.in_channels;
}

size_t ConvStream::bytes(const Context& context, const StripConvShape& shape,
                         int64_t incoming_rows) {
  const size_t window = window_floats(shape, stream_rows(shape, incoming_rows)) * sizeof(float);
  return StripConv::bytes(context, shape).scratch + Arena::rounded(window);
}

int64_t ConvStream::strip_rows(const StripConvShape& shape) { return choose_strip_rows(shape); }

bool ConvStream::has_input() const {
  const int64_t below = conv_.shape_.kernel / 2;
  const int64_t needed = next_row_ + conv_.rows_at(next_row_) + below;
  return window_end_ >= std::min(needed, height());
}

void ConvStream::append(const float* rows, int64_t num_rows) {
  const auto row_floats = static_cast<size_t>(treatment_.width * treatment_.channels);
  const int64_t needed_first = std::max<int64_t>(0, next_row_ - conv_.shape_.kernel / 2);
  const int64_t outdated = std::min(needed_first, window_end_) - window_first_;
  const auto kept = static_cast<size_t>(window_end_ - window_first_ - outdated);
  std::memmove(window_, window_ + static_cast<size_t>(outdated) * row_floats,
               kept * row_floats * sizeof(float));
  window_first_ += outdated;
  NEXTSCALE_ASSERT(static_cast<int64_t>(kept) + num_rows <= window_rows_);
  std::memcpy(window_ + kept * row_floats, rows,
              static_cast<size_t>(num_rows) * row_floats * sizeof(float));
  window_end_ += num_rows;
}

}  // namespace nextscale
