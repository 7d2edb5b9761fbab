// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_weights.h"

#include "core/error_format.h"
#include "core/int8_row.h"
#include "core/parallel.h"

namespace nextscale::kernels {
namespace {

// Row `row` of a float matrix as f32.
void widen_row(const ConstTensorView& matrix, int64_t row, std::span<float> out) {
  const size_t row_bytes = out.size() * dtype_bytes(matrix.dtype);
  copy_to_f32({matrix.as<std::byte>() + static_cast<size_t>(row) * row_bytes, matrix.dtype,
               Shape{static_cast<int64_t>(out.size())}},
              out);
}

void round_rows(const Context& context, const ConstTensorView& matrix, Int8Weights* result) {
  const int64_t inputs = matrix.shape[1];
  const int64_t depth = result->values.shape()[1];
  Tensor wide(DType::kF32, {context.num_threads, inputs});
  parallel_for(context.num_threads, matrix.shape[0], [&](int64_t row, int worker) {
    const std::span<float> values(wide.as<float>() + worker * inputs, static_cast<size_t>(inputs));
    widen_row(matrix, row, values);
    result->factors.as<float>()[row] =
        quantize_row(values, {result->values.as<int8_t>() + row * depth, values.size()});
  });
}

void copy_rows(const LinearWeights& weights, Int8Weights* result) {
  const int64_t inputs = weights.matrix.shape[1];
  const int64_t depth = result->values.shape()[1];
  for (int64_t row = 0; row < weights.matrix.shape[0]; ++row) {
    std::copy_n(weights.matrix.as<int8_t>() + row * inputs, inputs,
                result->values.as<int8_t>() + row * depth);
  }
  copy_to_f32(weights.row_factors,
              {result->factors.as<float>(), static_cast<size_t>(weights.matrix.shape[0])});
}

}  // namespace

Int8Weights int8_weights(const Context& context, const LinearSpec& spec,
                         const LinearWeights& weights, int64_t depth) {
  if (spec.in_features > kMaxInt8Inputs) {
    fail(ErrorCode::kUnsupported,
         "kernels: an int8 product of {} inputs may leave 32 bits, wanted at most {}; use --dtype "
         "bf16",
         spec.in_features, kMaxInt8Inputs);
  }
  Int8Weights result{.values = Tensor::zeros(DType::kI8, {spec.out_features, depth}),
                     .factors = Tensor(DType::kF32, {spec.out_features})};
  if (weights.matrix.dtype == DType::kI8) {
    copy_rows(weights, &result);
  } else {
    round_rows(context, weights.matrix, &result);
  }
  return result;
}

Tensor bias_values(const LinearSpec& spec, const LinearWeights& weights) {
  Tensor result = Tensor::zeros(DType::kF32, {spec.out_features});
  if (weights.bias.data == nullptr) return result;
  copy_to_f32(weights.bias, {result.as<float>(), static_cast<size_t>(spec.out_features)});
  return result;
}

}  // namespace nextscale::kernels
