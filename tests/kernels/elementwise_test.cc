// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

// Around vector lengths, and past one job.
constexpr int64_t kCounts[] = {1, 7, 15, 16, 17, 97, 16384, 16391, 50001};

class ElementwiseTest : public KernelTest {};

TEST_F(ElementwiseTest, SiluMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t count : kCounts) {
      const Tensor x = random_tensor(DType::kF32, {count}, 1, 20.0F);
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        Tensor fast(dtype, {count});
        Tensor plain(dtype, {count});
        cpu_table().silu(context(), x.as<float>(), fast.view().data, dtype, count);
        ref_table().silu(context(), x.as<float>(), plain.view().data, dtype, count);
        EXPECT_TRUE(is_close(fast, plain, elementwise_tolerance(dtype)));
      }
    }
  });
}

TEST_F(ElementwiseTest, SiluSaturates) {
  const float x[] = {-1e30F, -200.0F, 200.0F, 1e30F};
  for_each_instruction_set([&] {
    float out[4];
    cpu_table().silu(context(), x, out, DType::kF32, 4);
    EXPECT_NEAR(out[1], 0.0F, 1e-30F);
    EXPECT_EQ(out[2], 200.0F);
    EXPECT_EQ(out[3], 1e30F);
  });
}

TEST_F(ElementwiseTest, AddMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t count : kCounts) {
      const Tensor y = random_tensor(DType::kF32, {count}, 3);
      Tensor fast = random_tensor(DType::kF32, {count}, 4);
      Tensor plain = fast.clone();
      cpu_table().add(context(), fast.as<float>(), y.as<float>(), count);
      ref_table().add(context(), plain.as<float>(), y.as<float>(), count);
      EXPECT_TRUE(same_bits(fast, plain));
    }
  });
}

TEST_F(ElementwiseTest, MultiplyMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t count : kCounts) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const Tensor y = random_tensor(dtype, {count}, 7);
        Tensor fast = random_tensor(dtype, {count}, 8);
        Tensor plain = fast.clone();
        cpu_table().multiply(context(), fast.view().data, view_of(y).data, dtype, count);
        ref_table().multiply(context(), plain.view().data, view_of(y).data, dtype, count);
        EXPECT_TRUE(same_bits(fast, plain));
      }
    }
  });
}

TEST_F(ElementwiseTest, BlendMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t count : kCounts) {
      const Tensor x = random_tensor(DType::kF32, {count}, 5);
      const Tensor y = random_tensor(DType::kF32, {count}, 6);
      Tensor fast(DType::kF32, {count});
      Tensor plain(DType::kF32, {count});
      cpu_table().blend(context(), 2.5F, x.as<float>(), -1.5F, y.as<float>(), fast.as<float>(),
                        count);
      ref_table().blend(context(), 2.5F, x.as<float>(), -1.5F, y.as<float>(), plain.as<float>(),
                        count);
      EXPECT_TRUE(is_close(fast, plain, elementwise_tolerance(DType::kF32)));
    }
  });
}

TEST_F(ElementwiseTest, BlendMayWriteOverItsInput) {
  Tensor x = random_tensor(DType::kF32, {97}, 7);
  const Tensor y = random_tensor(DType::kF32, {97}, 8);
  Tensor apart(DType::kF32, {97});
  cpu_table().blend(context(), 0.5F, x.as<float>(), 0.5F, y.as<float>(), apart.as<float>(), 97);
  cpu_table().blend(context(), 0.5F, x.as<float>(), 0.5F, y.as<float>(), x.as<float>(), 97);
  EXPECT_TRUE(same_bits(x, apart));
}

TEST_F(ElementwiseTest, GatedAddMatchesRef) {
  for_each_instruction_set([&] {
    for (const int64_t width : {1, 13, 64, 1000}) {
      const Tensor y = random_tensor(DType::kF32, {3, 7, width}, 9);
      const Tensor gate = random_tensor(DType::kF32, {3, width + 5}, 10);
      Tensor fast = random_tensor(DType::kF32, {3, 7, width}, 11);
      Tensor plain = fast.clone();
      GatedAddArgs args{.y = y.as<float>(), .gate = gate.as<float>(), .gate_stride = width + 5};
      args.rows = 3;
      args.tokens = 7;
      args.width = width;
      args.x = fast.as<float>();
      cpu_table().gated_add(context(), args);
      args.x = plain.as<float>();
      ref_table().gated_add(context(), args);
      EXPECT_TRUE(is_close(fast, plain, elementwise_tolerance(DType::kF32)));
    }
  });
}

TEST_F(ElementwiseTest, NothingIsWrittenPastTheEnd) {
  constexpr float kMark = 12345.0F;
  for_each_instruction_set([&] {
    for (const int64_t count : {1, 15, 17, 33}) {
      const Tensor x = random_tensor(DType::kF32, {count}, 12);
      Tensor out(DType::kF32, {count + 64});
      std::fill_n(out.as<float>(), count + 64, kMark);
      cpu_table().silu(context(), x.as<float>(), out.view().data, DType::kF32, count);
      EXPECT_EQ(std::count(out.as<float>() + count, out.as<float>() + count + 64, kMark), 64);
    }
  });
}

}  // namespace
}  // namespace nextscale::kernels
