// SPDX-License-Identifier: Apache-2.0
#include "blocks/weight_loader.h"

#include <utility>

#include "core/error_format.h"
#include "core/int8_row.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

class StoredLinear final : public kernels::Linear {
 public:
  StoredLinear(std::shared_ptr<WeightSource> source, std::string name,
               kernels::LinearWeights weights, std::vector<float> factors, std::vector<float> bias,
               DType compute)
      : source_(std::move(source)),
        name_(std::move(name)),
        weights_(std::move(weights)),
        factors_(std::move(factors)),
        bias_(std::move(bias)),
        compute_(compute) {
    weights_.row_factors = {factors_.data(), DType::kF32,
                            Shape{static_cast<int64_t>(factors_.size())}};
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    context.kernels->stored_product(context, {.x = static_cast<const float*>(x),
                                              .rows = rows,
                                              .weights = weights_,
                                              .bias = bias_.data(),
                                              .compute = compute_,
                                              .y = static_cast<float*>(y)});
    source_->rest(name_);
  }

  size_t packed_bytes() const override { return (factors_.size() + bias_.size()) * sizeof(float); }

 private:
  std::shared_ptr<WeightSource> source_;
  std::string name_;  // of the matrix
  kernels::LinearWeights weights_;
  std::vector<float> factors_;  // of the rows of an i8 matrix
  std::vector<float> bias_;
  DType compute_;
};

}  // namespace

std::unique_ptr<kernels::Linear> WeightLoader::linear(const std::string& name,
                                                      const kernels::LinearSpec& spec) {
  return linear(name + ".weight", spec, read(name + ".bias", Shape{spec.out_features}));
}

std::unique_ptr<kernels::Linear> WeightLoader::linear(const std::string& weight_name,
                                                      const kernels::LinearSpec& spec,
                                                      const std::vector<float>& bias) {
  return pack(weight_name, spec, {bias.data(), DType::kF32, Shape{spec.out_features}});
}

std::unique_ptr<kernels::Linear> WeightLoader::linear_without_bias(
    const std::string& weight_name, const kernels::LinearSpec& spec) {
  return pack(weight_name, spec, {});
}

std::unique_ptr<kernels::Linear> WeightLoader::pack(const std::string& weight_name,
                                                    const kernels::LinearSpec& spec,
                                                    const ConstTensorView& bias) {
  kernels::LinearWeights weights{
      .matrix = source_->view(weight_name, Shape{spec.out_features, spec.in_features}),
      .bias = bias};
  std::vector<float> factors;
  Tensor wide;
  if (weights.matrix.dtype == DType::kI8) {
    factors = read(weight_name + std::string(kRowFactorsEnding), Shape{spec.out_features});
    weights.row_factors = {factors.data(), DType::kF32, Shape{spec.out_features}};
    if (spec.compute != DType::kI8) {
      wide = widened(weights.matrix, factors, spec.compute);
      weights.matrix = std::as_const(wide).view();
    }
  }
  auto result = context_.kernels->make_linear(context_, spec, weights);
  loaded_bytes_ += result->packed_bytes();
  source_->drop(weight_name);
  return result;
}

std::unique_ptr<kernels::Linear> WeightLoader::stored_linear(const std::string& name,
                                                             const kernels::LinearSpec& spec) {
  const std::string matrix = name + ".weight";
  const kernels::LinearWeights weights{
      .matrix = source_->view(matrix, Shape{spec.out_features, spec.in_features})};
  std::vector<float> factors;
  if (weights.matrix.dtype == DType::kI8) {
    factors = read(matrix + std::string(kRowFactorsEnding), Shape{spec.out_features});
  }
  auto result =
      std::make_unique<StoredLinear>(source_, matrix, weights, std::move(factors),
                                     read(name + ".bias", Shape{spec.out_features}), spec.compute);
  loaded_bytes_ += result->packed_bytes();
  return result;
}

Tensor WeightLoader::widened(const ConstTensorView& matrix, const std::vector<float>& factors,
                             DType dtype) const {
  const int64_t columns = matrix.shape[1];
  Tensor result(dtype, matrix.shape);
  parallel_for(context_.num_threads, matrix.shape[0], [&](int64_t row, int) {
    const float factor = factors[static_cast<size_t>(row)];
    for (int64_t index = row * columns; index < (row + 1) * columns; ++index) {
      const float value = factor * static_cast<float>(matrix.as<int8_t>()[index]);
      if (dtype == DType::kBF16) {
        result.as<BFloat16>()[index] = to_bf16(value);
      } else {
        result.as<float>()[index] = value;
      }
    }
  });
  return result;
}

std::unique_ptr<kernels::Conv> WeightLoader::conv(const std::string& name,
                                                  const kernels::ConvSpec& spec) {
  const ConstTensorView weight = source_->view(
      name + ".weight", Shape{spec.out_channels, spec.in_channels, spec.kernel, spec.kernel});
  const std::vector<float> bias = read(name + ".bias", Shape{spec.out_channels});
  auto result = context_.kernels->make_conv(context_, spec, weight,
                                            {bias.data(), DType::kF32, Shape{spec.out_channels}});
  loaded_bytes_ += result->packed_bytes();
  source_->drop(name + ".weight");
  return result;
}

std::vector<float> WeightLoader::read(const std::string& name, const Shape& shape) const {
  std::vector<float> result(static_cast<size_t>(shape.num_elements()));
  copy_to_f32(source_->view(name, shape), result);
  source_->drop(name);
  return result;
}

std::vector<float> WeightLoader::values(const std::string& name, const Shape& shape) {
  std::vector<float> result = read(name, shape);
  loaded_bytes_ += result.size() * sizeof(float);
  return result;
}

}  // namespace nextscale
