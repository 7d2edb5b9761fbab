// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "core/int8_row.h"
#include "core/parallel.h"
#include "kernels/linear_weights.h"
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

double activated(const LinearSpec& spec, double x) {
  return spec.activation == Activation::kGeluTanh ? gelu_tanh(x) : x;
}

// Keeps the weights row-major in the compute type, so that rounding to bf16 happens here as well.
class RefLinear final : public Linear {
 public:
  RefLinear(const LinearSpec& spec, const LinearWeights& weights)
      : spec_(spec),
        weight_(spec.compute, {spec.out_features, spec.in_features}),
        bias_(bias_values(spec, weights)) {
    Tensor exact(DType::kF32, weight_.shape());
    copy_to_f32(weights.matrix,
                {exact.as<float>(), static_cast<size_t>(exact.shape().num_elements())});
    for (int64_t index = 0; index < exact.shape().num_elements(); ++index) {
      store(weight_.view().data, spec.compute, index, exact.as<float>()[index]);
    }
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    parallel_for(context.num_threads, rows, [&](int64_t row, int) {
      for (int64_t feature = 0; feature < spec_.out_features; ++feature) {
        const double sum = bias_.as<float>()[feature] + dot(x, row, feature);
        store(y, spec_.output, row * spec_.out_features + feature, activated(spec_, sum));
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

class RefInt8Linear final : public Linear {
 public:
  RefInt8Linear(const Context& context, const LinearSpec& spec, const LinearWeights& weights)
      : spec_(spec),
        weight_(int8_weights(context, spec, weights, spec.in_features)),
        bias_(bias_values(spec, weights)) {
    if (!weight_.own.empty()) return;
    weight_.own = Tensor(DType::kI8, weight_.values.shape);
    std::memcpy(weight_.own.as<int8_t>(), weight_.values.data, weight_.own.num_bytes());
    weight_.values = std::as_const(weight_.own).view();
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    const ArenaScope scope(*context.scratch);
    const auto inputs = static_cast<size_t>(spec_.in_features);
    int8_t* rounded = context.scratch->take<int8_t>(static_cast<size_t>(rows) * inputs).data();
    parallel_for(context.num_threads, rows, [&](int64_t row, int) {
      int8_t* x_row = rounded + row * spec_.in_features;
      const auto* given = static_cast<const BFloat16*>(x) + row * spec_.in_features;
      const double x_factor =
          quantize_row(std::span<const BFloat16>(given, inputs), {x_row, inputs});
      for (int64_t feature = 0; feature < spec_.out_features; ++feature) {
        const double factor = x_factor * static_cast<double>(weight_.factors.as<float>()[feature]);
        const double sum = bias_.as<float>()[feature] + factor * dot(x_row, feature);
        store(y, spec_.output, row * spec_.out_features + feature, activated(spec_, sum));
      }
    });
  }

  size_t packed_bytes() const override {
    return weight_.own.num_bytes() + weight_.factors.num_bytes() + bias_.num_bytes();
  }

 private:
  double dot(const int8_t* x, int64_t feature) const {
    const int8_t* weights = weight_.values.as<int8_t>() + feature * spec_.in_features;
    int64_t sum = 0;
    for (int64_t input = 0; input < spec_.in_features; ++input) {
      sum += static_cast<int64_t>(x[input]) * weights[input];
    }
    return static_cast<double>(sum);
  }

  LinearSpec spec_;
  Int8Weights weight_;  // [out, in]
  Tensor bias_;         // [out] f32
};

}  // namespace

std::unique_ptr<Linear> make_linear(const Context& context, const LinearSpec& spec,
                                    const LinearWeights& weights) {
  if (spec.compute == DType::kI8) return std::make_unique<RefInt8Linear>(context, spec, weights);
  return std::make_unique<RefLinear>(spec, weights);
}

size_t linear_bytes(const Context& /*context*/, const LinearSpec& spec) {
  const int64_t factors = spec.compute == DType::kI8 ? spec.out_features : 0;
  return static_cast<size_t>(spec.in_features * spec.out_features) * dtype_bytes(spec.compute) +
         static_cast<size_t>(spec.out_features + factors) * sizeof(float);
}

size_t linear_scratch(const Context& /*context*/, const LinearSpec& spec, int64_t rows) {
  return spec.compute == DType::kI8 ? Arena::rounded(static_cast<size_t>(rows * spec.in_features))
                                    : 0;
}

void stored_product(const Context& context, const StoredProductArgs& args) {
  kernels::stored_product(context, args, [](const float* x, const float* weights, int64_t count) {
    double sum = 0.0;
    for (int64_t at = 0; at < count; ++at) sum += static_cast<double>(x[at]) * weights[at];
    return static_cast<float>(sum);
  });
}

}  // namespace nextscale::kernels::ref
