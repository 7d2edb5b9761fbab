// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "core/parallel.h"
#include "kernels/ref/element.h"
#include "kernels/ref/ref.h"

namespace nextscale::kernels::ref {
namespace {

// The tanh form of GELU (Hendrycks, Gimpel: "Gaussian Error Linear Units", 2016, section 2).
double gelu_tanh(double x) {
  constexpr double kCubic = 0.044715;
  constexpr double kSqrtTwoOverPi = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  return 0.5 * x * (1.0 + std::tanh(kSqrtTwoOverPi * (x + kCubic * x * x * x)));
}

// Keeps the weights row-major in the compute type, so that rounding to bf16 happens here as well.
class RefLinear final : public Linear {
 public:
  RefLinear(const LinearSpec& spec, const ConstTensorView& weight, const ConstTensorView& bias)
      : spec_(spec),
        weight_(spec.compute, {spec.out_features, spec.in_features}),
        bias_(Tensor::zeros(DType::kF32, {spec.out_features})) {
    Tensor exact(DType::kF32, weight_.shape());
    copy_to_f32(weight, {exact.as<float>(), static_cast<size_t>(exact.shape().num_elements())});
    for (int64_t index = 0; index < exact.shape().num_elements(); ++index) {
      store(weight_.view().data, spec.compute, index, exact.as<float>()[index]);
    }
    if (bias.data == nullptr) return;
    copy_to_f32(bias, {bias_.as<float>(), static_cast<size_t>(spec.out_features)});
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    parallel_for(context.num_threads, rows, [&](int64_t row, int) {
      for (int64_t feature = 0; feature < spec_.out_features; ++feature) {
        const double sum = bias_.as<float>()[feature] + dot(x, row, feature);
        const double value = spec_.activation == Activation::kGeluTanh ? gelu_tanh(sum) : sum;
        store(y, spec_.output, row * spec_.out_features + feature, value);
      }
    });
  }

  size_t packed_bytes() const override { return weight_.num_bytes() + bias_.num_bytes(); }

 private:
  double dot(const void* x, int64_t row, int64_t feature) const {
    double sum = 0.0;
    for (int64_t input = 0; input < spec_.in_features; ++input) {
      sum += load(x, spec_.compute, row * spec_.in_features + input) *
             load(weight_.view().data, spec_.compute, feature * spec_.in_features + input);
    }
    return sum;
  }

  LinearSpec spec_;
  Tensor weight_;  // [out, in] in the compute type
  Tensor bias_;    // [out] f32
};

}  // namespace

std::unique_ptr<Linear> make_linear(const Context& /*context*/, const LinearSpec& spec,
                                    const ConstTensorView& weight, const ConstTensorView& bias) {
  return std::make_unique<RefLinear>(spec, weight, bias);
}

size_t linear_bytes(const Context& /*context*/, const LinearSpec& spec) {
  return static_cast<size_t>(spec.in_features * spec.out_features) * dtype_bytes(spec.compute) +
         static_cast<size_t>(spec.out_features) * sizeof(float);
}

}  // namespace nextscale::kernels::ref
