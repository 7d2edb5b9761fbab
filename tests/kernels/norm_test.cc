// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

constexpr int64_t kWidths[] = {1, 7, 31, 64, 127, 1024, 1920};

class NormTest : public KernelTest {
 protected:
  static Tensor run(const KernelTable& table, const Context& ctx, int64_t rows, int64_t tokens,
                    int64_t width, DType out_dtype) {
    const int64_t stride = 6 * width + 3;
    const Tensor x = random_tensor(DType::kF32, {rows, tokens, width}, 1, 3.0F);
    const Tensor modulation = random_tensor(DType::kF32, {rows, stride}, 2);
    Tensor out(out_dtype, {rows, tokens, width});
    LayerNormArgs args{.x = x.as<float>(),
                       .scale = modulation.as<float>(),
                       .shift = modulation.as<float>() + 2 * width + 1,
                       .modulation_stride = stride};
    args.rows = rows;
    args.tokens = tokens;
    args.width = width;
    args.out = out.view().data;
    args.out_dtype = out_dtype;
    table.layer_norm(ctx, args);
    return out;
  }
};

TEST_F(NormTest, LayerNormMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t width : kWidths) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(width);
        EXPECT_TRUE(is_close(run(cpu_table(), context(), 2, 5, width, dtype),
                             run(ref_table(), context(), 2, 5, width, dtype),
                             elementwise_tolerance(dtype)));
      }
    }
  });
}

TEST_F(NormTest, LayerNormDoesNotDependOnThreads) {
  EXPECT_TRUE(same_bits(run(cpu_table(), context(1), 2, 37, 1027, DType::kF32),
                        run(cpu_table(), context(2), 2, 37, 1027, DType::kF32)));
}

Tensor run_rms_norm(const KernelTable& table, const Context& ctx, int64_t width, DType out_dtype) {
  const Tensor x = random_tensor(DType::kF32, {37, width}, 3, 3.0F);
  const Tensor weight = random_tensor(DType::kF32, {width}, 4);
  Tensor out(out_dtype, x.shape());
  RmsNormArgs args{.x = x.as<float>(), .weight = weight.as<float>(), .tokens = 37, .width = width};
  args.out = out.view().data;
  args.out_dtype = out_dtype;
  table.rms_norm(ctx, args);
  return out;
}

TEST_F(NormTest, RmsNormMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t width : kWidths) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        SCOPED_TRACE(width);
        EXPECT_TRUE(is_close(run_rms_norm(cpu_table(), context(), width, dtype),
                             run_rms_norm(ref_table(), context(), width, dtype),
                             elementwise_tolerance(dtype)));
      }
    }
  });
}

TEST_F(NormTest, RmsNormDoesNotDependOnThreads) {
  EXPECT_TRUE(same_bits(run_rms_norm(cpu_table(), context(1), 1027, DType::kF32),
                        run_rms_norm(cpu_table(), context(2), 1027, DType::kF32)));
}

TEST_F(NormTest, LayerNormOfAConstantIsTheShift) {
  const float x[] = {3, 3, 3, 3, 3};
  const float scale[] = {1, 2, 3, 4, 5};
  const float shift[] = {5, 4, 3, 2, 1};
  float out[5];
  LayerNormArgs args{.x = x, .scale = scale, .shift = shift};
  args.rows = args.tokens = 1;
  args.width = 5;
  args.out = out;
  cpu_table().layer_norm(context(), args);
  EXPECT_TRUE(same_bits(out, shift, sizeof(out)));
}

}  // namespace
}  // namespace nextscale::kernels
