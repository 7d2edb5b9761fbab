// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

// An f16 whose value is small and exact; the test needs no full conversion.
uint16_t f16_from_quarters(int quarters) {
  constexpr uint16_t kBits[] = {0x0000, 0x3400, 0x3800, 0x3a00, 0x3c00};  // 0, 1/4 .. 1
  return static_cast<uint16_t>(quarters < 0 ? 0x8000U | kBits[-quarters] : kBits[quarters]);
}

struct LinearCase {
  int64_t in_features;
  int64_t out_features;
};

constexpr LinearCase kCases[] = {{1, 1},     {7, 5},     {33, 17}, {64, 64},
                                 {100, 130}, {128, 384}, {257, 3}};
constexpr int64_t kRowCounts[] = {1, 2, 3, 8, 13, 18, 37, 64};

struct LinearTypes {
  DType compute;
  DType output;
};

constexpr LinearTypes kTypes[] = {
    {DType::kF32, DType::kF32}, {DType::kBF16, DType::kF32}, {DType::kBF16, DType::kBF16}};

class LinearTest : public KernelTest {
 protected:
  // Every spec of the tables above.
  static std::vector<LinearSpec> all_specs() {
    std::vector<LinearSpec> specs;
    for (const LinearCase& size : kCases) {
      for (const LinearTypes& types : kTypes) {
        for (const Activation activation : {Activation::kNone, Activation::kGeluTanh}) {
          specs.push_back(
              {size.in_features, size.out_features, types.compute, types.output, activation});
        }
      }
    }
    return specs;
  }

  static Tensor weight_of(const LinearSpec& spec, DType dtype = DType::kF32) {
    return random_tensor(dtype, {spec.out_features, spec.in_features}, 1);
  }
  static Tensor bias_of(const LinearSpec& spec) {
    return random_tensor(DType::kF32, {spec.out_features}, 2);
  }

  Tensor run(const KernelTable& table, const LinearSpec& spec, const ConstTensorView& weight,
             const ConstTensorView& bias, const Tensor& x, int num_threads = 2) {
    const Context ctx = context(num_threads);
    const auto linear = table.make_linear(ctx, spec, weight, bias);
    const int64_t rows = x.shape()[0];
    linear->prepare(rows);
    Tensor y(spec.output, {rows, spec.out_features});
    linear->run(ctx, view_of(x).data, y.view().data, rows);
    return y;
  }
};

std::string describe(const LinearSpec& spec) {
  return fmt::format("{} -> {}, {} to {}{}", spec.in_features, spec.out_features,
                     dtype_name(spec.compute), dtype_name(spec.output),
                     spec.activation == Activation::kGeluTanh ? ", gelu" : "");
}

TEST_F(LinearTest, MatchesRef) {
  for (const LinearSpec& spec : all_specs()) {
    SCOPED_TRACE(describe(spec));
    const Tensor weight = weight_of(spec);
    const Tensor bias = bias_of(spec);
    const Tensor x = random_tensor(spec.compute, {13, spec.in_features}, 3);
    EXPECT_TRUE(is_close(run(cpu_table(), spec, view_of(weight), view_of(bias), x),
                         run(ref_table(), spec, view_of(weight), view_of(bias), x),
                         product_tolerance(spec.output, spec.in_features)));
  }
}

TEST_F(LinearTest, RowsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 64;
  for (const LinearSpec& spec : all_specs()) {
    SCOPED_TRACE(describe(spec));
    const Tensor weight = weight_of(spec);
    const Tensor bias = bias_of(spec);
    const Tensor x = random_tensor(spec.compute, {kRows, spec.in_features}, 4);
    const Tensor whole = run(cpu_table(), spec, view_of(weight), view_of(bias), x);
    const Context ctx = context();
    const auto linear = cpu_table().make_linear(ctx, spec, view_of(weight), view_of(bias));
    for (const int64_t rows : kRowCounts) {
      linear->prepare(rows);
      Tensor part(spec.output, {rows, spec.out_features});
      const int64_t first = kRows - rows;
      const size_t x_offset =
          static_cast<size_t>(first * spec.in_features) * dtype_bytes(spec.compute);
      const size_t y_offset =
          static_cast<size_t>(first * spec.out_features) * dtype_bytes(spec.output);
      linear->run(ctx, view_of(x).as<std::byte>() + x_offset, part.view().data, rows);
      EXPECT_TRUE(same_bits(view_of(part).data, view_of(whole).as<std::byte>() + y_offset,
                            part.num_bytes()))
          << rows << " rows";
    }
  }
}

TEST_F(LinearTest, DoesNotDependOnThreads) {
  for (const LinearSpec& spec : all_specs()) {
    SCOPED_TRACE(describe(spec));
    const Tensor weight = weight_of(spec);
    const Tensor bias = bias_of(spec);
    const Tensor x = random_tensor(spec.compute, {37, spec.in_features}, 5);
    EXPECT_TRUE(same_bits(run(cpu_table(), spec, view_of(weight), view_of(bias), x, 1),
                          run(cpu_table(), spec, view_of(weight), view_of(bias), x, 2)));
  }
}

TEST_F(LinearTest, WorksWithoutBias) {
  const LinearSpec spec{.in_features = 33, .out_features = 17};
  const Tensor weight = weight_of(spec);
  const Tensor zero = Tensor::zeros(DType::kF32, {spec.out_features});
  const Tensor x = random_tensor(DType::kF32, {5, spec.in_features}, 6);
  EXPECT_TRUE(same_bits(run(cpu_table(), spec, view_of(weight), {}, x),
                        run(cpu_table(), spec, view_of(weight), view_of(zero), x)));
}

TEST_F(LinearTest, TakesBf16WeightsAsTheyAre) {
  for (const LinearTypes& types : kTypes) {
    const LinearSpec spec{33, 17, types.compute, types.output, Activation::kNone};
    const Tensor weight = weight_of(spec, DType::kBF16);
    Tensor widened(DType::kF32, weight.shape());
    copy_to_f32(view_of(weight), {widened.as<float>(), size_t{33 * 17}});
    const Tensor x = random_tensor(spec.compute, {5, spec.in_features}, 7);
    EXPECT_TRUE(same_bits(run(cpu_table(), spec, view_of(weight), {}, x),
                          run(cpu_table(), spec, view_of(widened), {}, x)));
  }
}

TEST_F(LinearTest, TakesF16Weights) {
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    const LinearSpec spec{.in_features = 9, .out_features = 11};
    Tensor half(DType::kF16, {spec.out_features, spec.in_features});
    Tensor single(DType::kF32, half.shape());
    for (int index = 0; index < 99; ++index) {
      half.as<uint16_t>()[index] = f16_from_quarters(index % 9 - 4);
      single.as<float>()[index] = static_cast<float>(index % 9 - 4) / 4.0F;
    }
    const Tensor x = random_tensor(DType::kF32, {5, spec.in_features}, 8);
    EXPECT_TRUE(same_bits(run(*table, spec, view_of(half), {}, x),
                          run(*table, spec, view_of(single), {}, x)));
  }
}

TEST_F(LinearTest, PackedBytesCountTheWeights) {
  const LinearSpec f32{.in_features = 128, .out_features = 256};
  LinearSpec bf16 = f32;
  bf16.compute = DType::kBF16;
  const Tensor weight = weight_of(f32);
  const size_t f32_bytes =
      cpu_table().make_linear(context(), f32, view_of(weight), {})->packed_bytes();
  const size_t bf16_bytes =
      cpu_table().make_linear(context(), bf16, view_of(weight), {})->packed_bytes();
  EXPECT_GE(f32_bytes, size_t{128 * 256 * 4});
  EXPECT_LT(f32_bytes, size_t{128 * 256 * 4 * 11 / 10});
  EXPECT_GE(bf16_bytes, size_t{128 * 256 * 2});
}

}  // namespace
}  // namespace nextscale::kernels
