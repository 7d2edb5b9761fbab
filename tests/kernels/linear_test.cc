// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "core/int8_row.h"
#include "nextscale/error.h"
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

constexpr LinearTypes kTypes[] = {{DType::kF32, DType::kF32},
                                  {DType::kBF16, DType::kF32},
                                  {DType::kBF16, DType::kBF16},
                                  {DType::kI8, DType::kF32},
                                  {DType::kI8, DType::kBF16}};

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

  static Tensor x_of(const LinearSpec& spec, int64_t rows, uint64_t seed) {
    return random_tensor(activation_type(spec.compute), {rows, spec.in_features}, seed);
  }

  Tensor run(const KernelTable& table, const LinearSpec& spec, const LinearWeights& weights,
             const Tensor& x, int num_threads = 2) {
    const Context ctx = context(num_threads);
    const auto linear = table.make_linear(ctx, spec, weights);
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
    const Tensor x = x_of(spec, 13, 3);
    const LinearWeights weights{.matrix = view_of(weight), .bias = view_of(bias)};
    EXPECT_TRUE(is_close(run(cpu_table(), spec, weights, x), run(ref_table(), spec, weights, x),
                         product_tolerance(spec.output, spec.in_features)));
  }
}

TEST_F(LinearTest, RowsDoNotDependOnTheirNumber) {
  constexpr int64_t kRows = 64;
  for (const LinearSpec& spec : all_specs()) {
    SCOPED_TRACE(describe(spec));
    const Tensor weight = weight_of(spec);
    const Tensor bias = bias_of(spec);
    const Tensor x = x_of(spec, kRows, 4);
    const LinearWeights weights{.matrix = view_of(weight), .bias = view_of(bias)};
    const Tensor whole = run(cpu_table(), spec, weights, x);
    const Context ctx = context();
    const auto linear = cpu_table().make_linear(ctx, spec, weights);
    for (const int64_t rows : kRowCounts) {
      linear->prepare(rows);
      Tensor part(spec.output, {rows, spec.out_features});
      const int64_t first = kRows - rows;
      const size_t x_offset =
          static_cast<size_t>(first * spec.in_features) * dtype_bytes(x.dtype());
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
    const Tensor x = x_of(spec, 37, 5);
    const LinearWeights weights{.matrix = view_of(weight), .bias = view_of(bias)};
    EXPECT_TRUE(
        same_bits(run(cpu_table(), spec, weights, x, 1), run(cpu_table(), spec, weights, x, 2)));
  }
}

TEST_F(LinearTest, WorksWithoutBias) {
  const LinearSpec spec{.in_features = 33, .out_features = 17};
  const Tensor weight = weight_of(spec);
  const Tensor zero = Tensor::zeros(DType::kF32, {spec.out_features});
  const Tensor x = random_tensor(DType::kF32, {5, spec.in_features}, 6);
  EXPECT_TRUE(
      same_bits(run(cpu_table(), spec, {.matrix = view_of(weight)}, x),
                run(cpu_table(), spec, {.matrix = view_of(weight), .bias = view_of(zero)}, x)));
}

TEST_F(LinearTest, TakesBf16WeightsAsTheyAre) {
  for (const LinearTypes& types : kTypes) {
    const LinearSpec spec{33, 17, types.compute, types.output, Activation::kNone};
    const Tensor weight = weight_of(spec, DType::kBF16);
    Tensor widened(DType::kF32, weight.shape());
    copy_to_f32(view_of(weight), {widened.as<float>(), size_t{33 * 17}});
    const Tensor x = x_of(spec, 5, 7);
    EXPECT_TRUE(same_bits(run(cpu_table(), spec, {.matrix = view_of(weight)}, x),
                          run(cpu_table(), spec, {.matrix = view_of(widened)}, x)));
  }
}

TEST_F(LinearTest, TakesF16Weights) {
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    LinearSpec spec{.in_features = 9, .out_features = 11};
    Tensor half(DType::kF16, {spec.out_features, spec.in_features});
    Tensor single(DType::kF32, half.shape());
    for (int index = 0; index < 99; ++index) {
      half.as<uint16_t>()[index] = f16_from_quarters(index % 9 - 4);
      single.as<float>()[index] = static_cast<float>(index % 9 - 4) / 4.0F;
    }
    for (const DType compute : {DType::kF32, DType::kI8}) {
      spec.compute = compute;
      const Tensor x = x_of(spec, 5, 8);
      EXPECT_TRUE(same_bits(run(*table, spec, {.matrix = view_of(half)}, x),
                            run(*table, spec, {.matrix = view_of(single)}, x)));
    }
  }
}

TEST_F(LinearTest, PackedBytesCountTheWeights) {
  LinearSpec spec{.in_features = 128, .out_features = 256};
  const Tensor weight = weight_of(spec);
  const auto bytes = [&](DType compute) {
    spec.compute = compute;
    return cpu_table().make_linear(context(), spec, {.matrix = view_of(weight)})->packed_bytes();
  };
  EXPECT_GE(bytes(DType::kF32), size_t{128 * 256 * 4});
  EXPECT_LT(bytes(DType::kF32), size_t{128 * 256 * 4 * 11 / 10});
  EXPECT_GE(bytes(DType::kBF16), size_t{128 * 256 * 2});
  EXPECT_EQ(bytes(DType::kI8), size_t{128 * 256 + 256 * (4 + 4 + 4)});
}

TEST_F(LinearTest, BytesAndScratchArePredicted) {
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    for (const LinearSpec& spec : all_specs()) {
      SCOPED_TRACE(describe(spec));
      const Tensor weight = weight_of(spec);
      Context ctx = context();
      const auto linear = table->make_linear(ctx, spec, {.matrix = view_of(weight)});
      EXPECT_EQ(linear->packed_bytes(), table->linear_bytes(ctx, spec));
      constexpr int64_t kRows = 37;
      Arena scratch(size_t{1} << 20, "a test");
      ctx.scratch = &scratch;
      const Tensor x = x_of(spec, kRows, 9);
      Tensor y(spec.output, {kRows, spec.out_features});
      linear->prepare(kRows);
      linear->run(ctx, view_of(x).data, y.view().data, kRows);
      EXPECT_EQ(scratch.high_water_bytes(), table->linear_scratch(ctx, spec, kRows));
      EXPECT_EQ(scratch.mark(), 0U);
    }
  }
}

// ---- Eight bits ---------------------------------------------------------------------------------

constexpr LinearCase kInt8Cases[] = {{100, 130}, {1030, 70}, {64, 17}};

TEST_F(LinearTest, Int8MatchesRefWithEveryInstructionSet) {
  for (const LinearCase& size : kInt8Cases) {
    for (const int64_t rows : {1, 7, 300}) {
      const LinearSpec spec{size.in_features, size.out_features, DType::kI8, DType::kF32,
                            rows == 7 ? Activation::kGeluTanh : Activation::kNone};
      SCOPED_TRACE(describe(spec));
      const Tensor weight = weight_of(spec);
      const Tensor bias = bias_of(spec);
      const LinearWeights weights{.matrix = view_of(weight), .bias = view_of(bias)};
      const Tensor x = x_of(spec, rows, 10);
      const Tensor wanted = run(ref_table(), spec, weights, x);
      for_each_instruction_set([&] {
        EXPECT_TRUE(is_close(run(cpu_table(), spec, weights, x), wanted,
                             product_tolerance(spec.output, spec.in_features)));
      });
    }
  }
}

TEST_F(LinearTest, Int8OfManyOutputsTakesRowsInBlocks) {
  const LinearSpec spec{.in_features = 33, .out_features = 16'400, .compute = DType::kI8};
  const Tensor weight = weight_of(spec);
  const LinearWeights weights{.matrix = view_of(weight)};
  const Tensor x = x_of(spec, 150, 11);
  EXPECT_TRUE(is_close(run(cpu_table(), spec, weights, x), run(ref_table(), spec, weights, x),
                       product_tolerance(spec.output, spec.in_features)));
  EXPECT_EQ(cpu_table().linear_scratch(context(), spec, 150),
            cpu_table().linear_scratch(context(), spec, 4096));
}

double relative_rms(const Tensor& got, const Tensor& wanted) {
  double errors = 0.0;
  double squares = 0.0;
  for (int64_t index = 0; index < wanted.shape().num_elements(); ++index) {
    const double want = load_element(view_of(wanted), index);
    errors += std::pow(load_element(view_of(got), index) - want, 2);
    squares += want * want;
  }
  return std::sqrt(errors / squares);
}

TEST_F(LinearTest, Int8IsCloseToF32) {
  constexpr double kRelativeRms = 0.02;
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    for (const LinearCase& size : kInt8Cases) {
      LinearSpec spec{.in_features = size.in_features, .out_features = size.out_features};
      const Tensor weight = weight_of(spec);
      const LinearWeights weights{.matrix = view_of(weight)};
      const Tensor exact =
          run(*table, spec, weights, random_tensor(DType::kF32, {40, size.in_features}, 12));
      spec.compute = DType::kI8;
      EXPECT_LT(relative_rms(run(*table, spec, weights, x_of(spec, 40, 12)), exact), kRelativeRms);
    }
  }
}

TEST_F(LinearTest, Int8TakesRoundedWeightsAsTheyAre) {
  const LinearSpec spec{.in_features = 33, .out_features = 17, .compute = DType::kI8};
  const Tensor weight = weight_of(spec);
  Tensor rounded(DType::kI8, weight.shape());
  Tensor factors(DType::kF32, {spec.out_features});
  for (int64_t row = 0; row < spec.out_features; ++row) {
    factors.as<float>()[row] =
        quantize_row(std::span(weight.as<float>() + row * spec.in_features, size_t{33}),
                     {rounded.as<int8_t>() + row * spec.in_features, size_t{33}});
  }
  const Tensor x = x_of(spec, 5, 13);
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    EXPECT_TRUE(same_bits(
        run(*table, spec, {.matrix = view_of(weight)}, x),
        run(*table, spec, {.matrix = view_of(rounded), .row_factors = view_of(factors)}, x)));
  }
}

TEST_F(LinearTest, Int8RowsOfZerosAndOfOneLargeElementAreExact) {
  const LinearSpec spec{.in_features = 70, .out_features = 3, .compute = DType::kI8};
  const Tensor weight = random_tensor(DType::kI8, {3, 70}, 14);
  Tensor ones(DType::kF32, {3});
  std::fill_n(ones.as<float>(), 3, 1.0F);
  Tensor x = Tensor::zeros(DType::kBF16, {2, 70});
  x.as<BFloat16>()[70 + 69] = to_bf16(-508.0F);  // 4 times 127
  const Tensor y =
      run(cpu_table(), spec, {.matrix = view_of(weight), .row_factors = view_of(ones)}, x);
  for (int64_t output = 0; output < 3; ++output) {
    EXPECT_EQ(y.as<float>()[output], 0.0F);
    EXPECT_EQ(y.as<float>()[3 + output],
              -508.0F * static_cast<float>(weight.as<int8_t>()[70 * output + 69]));
  }
}

TEST_F(LinearTest, Int8RefusesSumsThatLeave32Bits) {
  const LinearSpec spec{
      .in_features = kMaxInt8Inputs + 1, .out_features = 1, .compute = DType::kI8};
  const Tensor weight = Tensor::zeros(DType::kF32, {1, spec.in_features});
  EXPECT_THROW(cpu_table().make_linear(context(), spec, {.matrix = view_of(weight)}), Error);
}

}  // namespace
}  // namespace nextscale::kernels
