// SPDX-License-Identifier: Apache-2.0
#include "blocks/strip_conv.h"

namespace nextscale {
namespace {

int64_t choose_strip_rows(const StripConvShape& shape) {
  const size_t row_bytes =
      static_cast<size_t>(shape.side * (shape.in_channels + shape.out_channels)) * sizeof(float);
  const auto affordable = static_cast<int64_t>(shape.strip_bytes / row_bytes);
  if (affordable >= shape.side || shape.side <= kernels::kConvRowAlignment) return shape.side;
  return std::max<int64_t>(1, affordable / kernels::kConvRowAlignment) * kernels::kConvRowAlignment;
}

size_t input_floats(const StripConvShape& shape, int64_t rows) {
  return static_cast<size_t>((rows + shape.kernel - 1) * shape.side * shape.in_channels);
}

size_t output_floats(const StripConvShape& shape, int64_t rows) {
  return static_cast<size_t>(rows * shape.side * shape.out_channels);
}

kernels::ConvSpec conv_spec(const StripConvShape& shape) {
  return {.in_channels = shape.in_channels,
          .out_channels = shape.out_channels,
          .kernel = shape.kernel,
          .width = shape.side};
}

}  // namespace

StripConv::StripConv(const StripConvShape& shape, const std::string& name, WeightLoader& loader)
    : shape_(shape), strip_rows_(choose_strip_rows(shape)) {
  conv_ = loader.conv(name, conv_spec(shape));
  conv_->prepare(strip_rows_);
  if (shape.side % strip_rows_ != 0) conv_->prepare(shape.side % strip_rows_);
}

kernels::ConvBytes StripConv::bytes(const Context& context, const StripConvShape& shape) {
  const int64_t rows = choose_strip_rows(shape);
  const kernels::ConvSpec spec = conv_spec(shape);
  kernels::ConvBytes bytes = context.kernels->conv_bytes(context, spec, rows);
  if (shape.side % rows != 0) {
    const size_t last = context.kernels->conv_bytes(context, spec, shape.side % rows).scratch;
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

void StripConv::run_strip(const Context& context, kernels::GatherRowsArgs* input, int64_t row,
                          int64_t rows, const Strip& strip) const {
  input->first_row = row - shape_.kernel / 2;
  input->rows = rows + shape_.kernel - 1;
  input->out = strip.input;
  context.kernels->gather_rows(context, *input);
  conv_->run(context, strip.input, strip.output, rows);
}

void StripConv::run_to(const Context& context, const kernels::GatherRowsArgs& input,
                       float* out) const {
  const ArenaScope scope(*context.scratch);
  Strip strip{.input = context.scratch->take<float>(input_floats(shape_, strip_rows_)).data(),
              .output = nullptr};
  kernels::GatherRowsArgs rows_of_input = input;
  for (int64_t row = 0; row < shape_.side; row += strip_rows_) {
    strip.output = out + row * shape_.side * shape_.out_channels;
    run_strip(context, &rows_of_input, row, std::min(strip_rows_, shape_.side - row), strip);
  }
}

}  // namespace nextscale
