// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct ResampleCase {
  int64_t in_height, in_width, out_height, out_width, channels;
};

constexpr ResampleCase kCases[] = {{1, 1, 1, 1, 1},
                                   {1, 1, 16, 16, 32},
                                   {5, 3, 16, 7, 5},
                                   {16, 16, 3, 3, 32},
                                   {13, 13, 16, 16, 17}};

Tensor run(const KernelTable& table, const Context& ctx, const ResampleCase& size) {
  const Tensor x = random_tensor(DType::kF32, {size.in_height, size.in_width, size.channels}, 1);
  const Tensor rows = random_tensor(DType::kF32, {size.out_height, size.in_height}, 2);
  const Tensor columns = random_tensor(DType::kF32, {size.out_width, size.in_width}, 3);
  Tensor scratch(DType::kF32, {size.out_height, size.in_width, size.channels});
  Tensor out(DType::kF32, {size.out_height, size.out_width, size.channels});
  ResampleArgs args{.x = x.as<float>(), .rows = rows.as<float>(), .columns = columns.as<float>()};
  args.in_height = size.in_height;
  args.in_width = size.in_width;
  args.out_height = size.out_height;
  args.out_width = size.out_width;
  args.channels = size.channels;
  args.scratch = scratch.as<float>();
  args.out = out.as<float>();
  table.resample(ctx, args);
  return out;
}

class ResampleTest : public KernelTest {};

TEST_F(ResampleTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const ResampleCase& size : kCases) {
      EXPECT_TRUE(is_close(run(cpu_table(), context(), size), run(ref_table(), context(), size),
                           product_tolerance(DType::kF32, size.in_height * size.in_width)));
    }
  });
}

TEST_F(ResampleTest, DoesNotDependOnThreads) {
  EXPECT_TRUE(
      same_bits(run(cpu_table(), context(1), kCases[4]), run(cpu_table(), context(2), kCases[4])));
}

}  // namespace
}  // namespace nextscale::kernels
