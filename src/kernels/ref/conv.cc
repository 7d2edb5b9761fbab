// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/parallel.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

class RefConv final : public Conv {
 public:
  RefConv(const ConvSpec& spec, const ConstTensorView& weight, const ConstTensorView& bias)
      : spec_(spec),
        weight_(DType::kF32, {spec.kernel, spec.kernel, spec.in_channels, spec.out_channels}),
        bias_(DType::kF32, {spec.out_channels}) {
    Tensor exact(DType::kF32, {spec.out_channels, spec.in_channels, spec.kernel, spec.kernel});
    copy_to_f32(weight, {exact.as<float>(), static_cast<size_t>(exact.shape().num_elements())});
    copy_to_f32(bias, {bias_.as<float>(), static_cast<size_t>(spec.out_channels)});
    const int64_t taps = spec.kernel * spec.kernel;
    for (int64_t out = 0; out < spec.out_channels; ++out) {
      for (int64_t in = 0; in < spec.in_channels; ++in) {
        for (int64_t tap = 0; tap < taps; ++tap) {
          weight_.as<float>()[(tap * spec.in_channels + in) * spec.out_channels + out] =
              exact.as<float>()[(out * spec.in_channels + in) * taps + tap];
        }
      }
    }
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const float* x, float* y, int64_t rows) const override {
    parallel_for(context.num_threads, rows * spec_.width, [&](int64_t pixel, int) {
      for (int64_t first = 0; first < spec_.out_channels; first += kChannelsAtOnce) {
        run_pixel(x, y, pixel, first);
      }
    });
  }

  size_t packed_bytes() const override { return weight_.num_bytes() + bias_.num_bytes(); }
  size_t scratch_bytes(int64_t /*rows*/) const override { return 0; }

 private:
  // So many sums fit on the stack; the number has no influence on the result.
  static constexpr int64_t kChannelsAtOnce = 32;

  // Output channels [first, first + kChannelsAtOnce) of one pixel.
  void run_pixel(const float* x, float* y, int64_t pixel, int64_t first) const {
    const int64_t row = pixel / spec_.width;
    const int64_t column = pixel % spec_.width;
    const int64_t count = std::min(kChannelsAtOnce, spec_.out_channels - first);
    double sums[kChannelsAtOnce] = {};
    for (int64_t tap_row = 0; tap_row < spec_.kernel; ++tap_row) {
      for (int64_t tap_column = 0; tap_column < spec_.kernel; ++tap_column) {
        const int64_t source = column + tap_column - spec_.kernel / 2;
        if (source < 0 || source >= spec_.width) continue;
        const float* inputs = x + ((row + tap_row) * spec_.width + source) * spec_.in_channels;
        const float* weights =
            weight_.as<float>() + first +
            (tap_row * spec_.kernel + tap_column) * spec_.in_channels * spec_.out_channels;
        for (int64_t in = 0; in < spec_.in_channels; ++in, weights += spec_.out_channels) {
          const double input = inputs[in];
          for (int64_t out = 0; out < count; ++out) sums[out] += input * weights[out];
        }
      }
    }
    for (int64_t out = 0; out < count; ++out) {
      y[pixel * spec_.out_channels + first + out] =
          static_cast<float>(sums[out] + bias_.as<float>()[first + out]);
    }
  }

  ConvSpec spec_;
  Tensor weight_;  // [kernel, kernel, in, out]
  Tensor bias_;    // [out]
};

}  // namespace

std::unique_ptr<Conv> make_conv(const Context& /*context*/, const ConvSpec& spec,
                                const ConstTensorView& weight, const ConstTensorView& bias) {
  return std::make_unique<RefConv>(spec, weight, bias);
}

ConvBytes conv_bytes(const Context& /*context*/, const ConvSpec& spec, int64_t /*rows*/) {
  const int64_t weights = spec.in_channels * spec.out_channels * spec.kernel * spec.kernel;
  return {.packed = static_cast<size_t>(weights + spec.out_channels) * sizeof(float), .scratch = 0};
}

}  // namespace nextscale::kernels::ref
