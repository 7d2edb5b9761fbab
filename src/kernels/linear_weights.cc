// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_weights.h"

#include <utility>

#include "core/error_format.h"
#include "core/int8_row.h"
#include "core/parallel.h"

namespace nextscale::kernels {
namespace {

// Row `row` of any matrix as f32; `out` is as long as a row.
void widen_row(const LinearWeights& weights, int64_t row, std::span<float> out) {
  const ConstTensorView& matrix = weights.matrix;
  const size_t first = static_cast<size_t>(row) * out.size();
  if (matrix.dtype == DType::kI8) {
    const float factor = weights.row_factors.as<float>()[row];
    const int8_t* from = matrix.as<int8_t>() + first;
    for (size_t at = 0; at < out.size(); ++at) out[at] = factor * static_cast<float>(from[at]);
    return;
  }
  copy_to_f32({matrix.as<std::byte>() + first * dtype_bytes(matrix.dtype), matrix.dtype,
               Shape{static_cast<int64_t>(out.size())}},
              out);
}

void round_rows(const Context& context, const LinearWeights& weights, Int8Weights* result) {
  const ConstTensorView& matrix = weights.matrix;
  const int64_t inputs = matrix.shape[1];
  const int64_t depth = result->own.shape()[1];
  Tensor wide(DType::kF32, {context.num_threads, inputs});
  parallel_for(context.num_threads, matrix.shape[0], [&](int64_t row, int worker) {
    const std::span<float> values(wide.as<float>() + worker * inputs, static_cast<size_t>(inputs));
    widen_row(weights, row, values);
    int8_t* whole = result->own.as<int8_t>() + row * depth;
    result->factors.as<float>()[row] = quantize_row(values, {whole, values.size()});
    std::fill_n(whole + inputs, depth - inputs, int8_t{0});
  });
}

void copy_rows(const Context& context, const LinearWeights& weights, Int8Weights* result) {
  const int64_t inputs = weights.matrix.shape[1];
  const int64_t depth = result->own.shape()[1];
  parallel_for(context.num_threads, weights.matrix.shape[0], [&](int64_t row, int) {
    int8_t* end = std::copy_n(weights.matrix.as<int8_t>() + row * inputs, inputs,
                              result->own.as<int8_t>() + row * depth);
    std::fill_n(end, depth - inputs, int8_t{0});
  });
}

// Rounds a row as packing it for a product of this type does.
void round_row(DType compute, std::span<float> row) {
  if (compute == DType::kBF16) {
    for (float& value : row) value = to_f32(to_bf16(value));
  } else if (compute == DType::kI8) {
    round_to_int8(row);
  }
}

}  // namespace

size_t stored_product_scratch(const Context& context, int64_t in) {
  return Arena::rounded(static_cast<size_t>(context.num_threads * in) * sizeof(float));
}

void stored_product(const Context& context, const StoredProductArgs& args, Dot dot) {
  const ArenaScope scope(*context.scratch);
  const int64_t out = args.weights.matrix.shape[0];
  const int64_t in = args.weights.matrix.shape[1];
  const auto wide = context.scratch->take<float>(static_cast<size_t>(context.num_threads * in));
  parallel_for(context.num_threads, out, [&](int64_t feature, int worker) {
    const auto row = wide.subspan(static_cast<size_t>(worker * in), static_cast<size_t>(in));
    widen_row(args.weights, feature, row);
    if (args.weights.matrix.dtype != args.compute) round_row(args.compute, row);
    for (int64_t at = 0; at < args.rows; ++at) {
      args.y[at * out + feature] = args.bias[feature] + dot(args.x + at * in, row.data(), in);
    }
  });
}

Int8Weights int8_weights(const Context& context, const LinearSpec& spec,
                         const LinearWeights& weights, int64_t depth) {
  if (spec.in_features > kMaxInt8Inputs) {
    fail(ErrorCode::kUnsupported,
         "kernels: an int8 product of {} inputs may leave 32 bits, wanted at most {}; use --dtype "
         "bf16",
         spec.in_features, kMaxInt8Inputs);
  }
  const bool is_stored = weights.matrix.dtype == DType::kI8;
  Int8Weights result{
      .own = {}, .values = weights.matrix, .factors = Tensor(DType::kF32, {spec.out_features})};
  if (is_stored) {
    copy_to_f32(weights.row_factors,
                {result.factors.as<float>(), static_cast<size_t>(spec.out_features)});
    if (depth == spec.in_features) return result;
  }
  result.own = Tensor(DType::kI8, {spec.out_features, depth});
  if (is_stored) {
    copy_rows(context, weights, &result);
  } else {
    round_rows(context, weights, &result);
  }
  result.values = std::as_const(result.own).view();
  return result;
}

Tensor bias_values(const LinearSpec& spec, const LinearWeights& weights) {
  Tensor result = Tensor::zeros(DType::kF32, {spec.out_features});
  if (weights.bias.data == nullptr) return result;
  copy_to_f32(weights.bias, {result.as<float>(), static_cast<size_t>(spec.out_features)});
  return result;
}

}  // namespace nextscale::kernels
