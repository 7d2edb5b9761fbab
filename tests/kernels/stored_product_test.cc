// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

constexpr int64_t kOut = 37;

class StoredProductTest : public KernelTest {
 protected:
  static Tensor run(const KernelTable& table, const Context& ctx, const Tensor& matrix,
                    const Tensor& x, DType compute) {
    const Tensor bias = random_tensor(DType::kF32, {kOut}, 3);
    const Tensor factors = random_tensor(DType::kF32, {kOut}, 4, 0.01F);
    StoredProductArgs args{.x = x.as<float>(), .rows = x.shape()[0]};
    args.weights.matrix = matrix.view();
    if (matrix.dtype() == DType::kI8) args.weights.row_factors = factors.view();
    args.bias = bias.as<float>();
    args.compute = compute;
    Tensor y(DType::kF32, {args.rows, kOut});
    args.y = y.as<float>();
    table.stored_product(ctx, args);
    return y;
  }
};

TEST_F(StoredProductTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t in : {1, 15, 64, 147, 1024}) {
      const Tensor x = random_tensor(DType::kF32, {3, in}, 1);
      for (const DType stored : {DType::kF32, DType::kBF16, DType::kI8}) {
        const Tensor matrix = random_tensor(stored, {kOut, in}, 2);
        for (const DType compute : {DType::kF32, DType::kBF16, DType::kI8}) {
          SCOPED_TRACE(in);
          const Tensor wanted = run(ref_table(), context(), matrix, x, compute);
          const Tensor got = run(cpu_table(), context(), matrix, x, compute);
          EXPECT_TRUE(is_close(got.view(), wanted.view(), product_tolerance(DType::kF32, in)));
        }
      }
    }
  });
}

TEST_F(StoredProductTest, IsTheProductOfTheRoundedMatrix) {
  const int64_t in = 100;
  const Tensor x = random_tensor(DType::kF32, {2, in}, 1);
  const Tensor exact = random_tensor(DType::kF32, {kOut, in}, 2);
  const Tensor rounded = random_tensor(DType::kBF16, {kOut, in}, 2);
  EXPECT_TRUE(same_bits(run(cpu_table(), context(), exact, x, DType::kBF16),
                        run(cpu_table(), context(), rounded, x, DType::kBF16)));
  EXPECT_FALSE(same_bits(run(cpu_table(), context(), exact, x, DType::kF32),
                         run(cpu_table(), context(), rounded, x, DType::kF32)));
}

TEST_F(StoredProductTest, DoesNotDependOnThreadsOrOtherRows) {
  const Tensor matrix = random_tensor(DType::kBF16, {kOut, 147}, 2);
  const Tensor x = random_tensor(DType::kF32, {5, 147}, 1);
  const Tensor one = random_tensor(DType::kF32, {1, 147}, 1);
  const Tensor all = run(cpu_table(), context(1), matrix, x, DType::kBF16);
  EXPECT_TRUE(same_bits(all, run(cpu_table(), context(2), matrix, x, DType::kBF16)));
  const Tensor first = run(cpu_table(), context(2), matrix, one, DType::kBF16);
  EXPECT_TRUE(std::equal(first.as<float>(), first.as<float>() + kOut, all.as<float>()));
}

}  // namespace
}  // namespace nextscale::kernels
