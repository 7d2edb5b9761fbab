// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/panel_linear.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/panels.h"
#include "kernels/linear_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panel_linear.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/panel_product.h"
#include "kernels/cpu/register_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

template <class Out>
HWY_INLINE void finish_row(const float* sums, const float* bias, Activation activation,
                           int64_t columns, Out* out) {
  for_each_vector(columns, [&](auto d, int64_t column) HWY_ATTR {
    auto value = hn::Add(hn::LoadU(d, sums + column), hn::LoadU(d, bias + column));
    if (activation == Activation::kGeluTanh) value = gelu_tanh_of(d, value);
    store_f32_as(d, value, out + column);
  });
}

template <class X, class Out>
void multiply_panel(const PanelProduct& product, const X* x, Out* y) {
  const LinearSpec& spec = *product.spec;
  const int64_t first_column = product.panel * kPanelColumns;
  const int64_t columns = std::min(kPanelColumns, spec.out_features - first_column);
  const float* panel = product.panels + product.panel * spec.in_features * kPanelColumns;
  alignas(64) float sums[kTileRows * kPanelColumns];
  for_each_tile(product.num_rows, [&](auto rows, int64_t row) HWY_ATTR {
    const int64_t first_row = product.first_row + row;
    product_tile<rows()>(x + first_row * spec.in_features, spec.in_features, panel,
                         spec.in_features, kPanelColumns, 1.0F, sums, kPanelColumns);
    for (int tile_row = 0; tile_row < rows(); ++tile_row) {
      finish_row(sums + tile_row * kPanelColumns, product.bias + first_column, spec.activation,
                 columns, y + (first_row + tile_row) * spec.out_features + first_column);
    }
  });
}

void run_panel_product(const PanelProduct& product, const void* x, void* y) {
  const bool bf16_in = product.spec->compute == DType::kBF16;
  const bool bf16_out = product.spec->output == DType::kBF16;
  const auto* narrow_x = static_cast<const BFloat16*>(x);
  const auto* wide_x = static_cast<const float*>(x);
  auto* narrow_y = static_cast<BFloat16*>(y);
  auto* wide_y = static_cast<float*>(y);
  if (bf16_in && bf16_out) return multiply_panel(product, narrow_x, narrow_y);
  if (bf16_in) return multiply_panel(product, narrow_x, wide_y);
  if (bf16_out) return multiply_panel(product, wide_x, narrow_y);
  multiply_panel(product, wide_x, wide_y);
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(run_panel_product);

class PanelLinear final : public Linear {
 public:
  PanelLinear(const LinearSpec& spec, const LinearWeights& weights)
      : spec_(spec),
        panels_(Tensor::zeros(DType::kF32,
                              {num_panels(spec.out_features), spec.in_features, kPanelColumns})),
        bias_(bias_values(spec, weights)) {
    const ConstTensorView& matrix = weights.matrix;
    Tensor row(DType::kF32, {spec.in_features});
    for (int64_t column = 0; column < spec.out_features; ++column) {
      const size_t offset =
          static_cast<size_t>(column * spec.in_features) * dtype_bytes(matrix.dtype);
      copy_to_f32({matrix.as<std::byte>() + offset, matrix.dtype, row.shape()},
                  {row.as<float>(), static_cast<size_t>(spec.in_features)});
      pack_column(row.as<float>(), column);
    }
  }

  void prepare(int64_t /*rows*/) override {}

  void run(const Context& context, const void* x, void* y, int64_t rows) const override {
    // A panel stays in the cache for this many rows.
    constexpr int64_t kRowsPerJob = 96;
    const int64_t row_jobs = (rows + kRowsPerJob - 1) / kRowsPerJob;
    const int64_t jobs = row_jobs * num_panels(spec_.out_features);
    parallel_for(context.num_threads, jobs, [&](int64_t job, int) {
      PanelProduct product{.spec = &spec_,
                           .panels = panels_.as<float>(),
                           .bias = bias_.as<float>(),
                           .panel = job / row_jobs};
      product.first_row = job % row_jobs * kRowsPerJob;
      product.num_rows = std::min(kRowsPerJob, rows - product.first_row);
      HWY_DYNAMIC_DISPATCH(run_panel_product)(product, x, y);
    });
  }

  size_t packed_bytes() const override { return panels_.num_bytes() + bias_.num_bytes(); }

 private:
  void pack_column(const float* weights, int64_t column) {
    float* to = panels_.as<float>() + column / kPanelColumns * spec_.in_features * kPanelColumns +
                column % kPanelColumns;
    for (int64_t input = 0; input < spec_.in_features; ++input) {
      const bool rounds = spec_.compute == DType::kBF16;
      to[input * kPanelColumns] = rounds ? to_f32(to_bf16(weights[input])) : weights[input];
    }
  }

  LinearSpec spec_;
  Tensor panels_;  // [panels, in, kPanelColumns]
  Tensor bias_;    // [out]
};

}  // namespace

size_t panel_linear_bytes(const LinearSpec& spec) {
  return static_cast<size_t>(num_panels(spec.out_features) * spec.in_features * kPanelColumns +
                             spec.out_features) *
         sizeof(float);
}

std::unique_ptr<Linear> make_panel_linear(const LinearSpec& spec, const LinearWeights& weights) {
  return std::make_unique<PanelLinear>(spec, weights);
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
