// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct HeadsCase {
  int64_t rows, tokens, query_heads, kv_heads, head_dim;
};

constexpr HeadsCase kCases[] = {{1, 1, 1, 1, 8},  {2, 5, 3, 3, 64}, {2, 7, 8, 1, 16},
                                {1, 3, 4, 2, 72}, {3, 2, 2, 2, 5},  {1, 37, 6, 2, 128}};

struct Heads {
  Tensor q, k, v;
};

class HeadsTest : public KernelTest {
 protected:
  static Heads run(const KernelTable& table, const Context& ctx, const HeadsCase& size,
                   bool normalize, DType kv_dtype, bool rotate = false) {
    const int64_t all_heads = size.query_heads + 2 * size.kv_heads;
    const Tensor qkv =
        random_tensor(DType::kF32, {size.rows, size.tokens, all_heads, size.head_dim}, 1);
    const Tensor head_scale = random_tensor(DType::kF32, {size.query_heads}, 2, 100.0F);
    const Shape kv_shape{size.rows, size.kv_heads, size.tokens, size.head_dim};
    Heads heads{Tensor(DType::kF32, {size.rows, size.query_heads, size.tokens, size.head_dim}),
                Tensor(kv_dtype, kv_shape), Tensor(kv_dtype, kv_shape)};
    SplitHeadsArgs args{.qkv = qkv.as<float>()};
    args.head_scale = normalize ? head_scale.as<float>() : nullptr;
    args.normalize = normalize;
    const Tensor cosines = random_tensor(DType::kF32, {size.tokens, size.head_dim}, 3);
    const Tensor sines = random_tensor(DType::kF32, {size.tokens, size.head_dim}, 4);
    args.cosines = rotate ? cosines.as<float>() : nullptr;
    args.sines = rotate ? sines.as<float>() : nullptr;
    args.rows = size.rows;
    args.tokens = size.tokens;
    args.query_heads = size.query_heads;
    args.kv_heads = size.kv_heads;
    args.head_dim = size.head_dim;
    args.q = heads.q.as<float>();
    args.k = heads.k.view().data;
    args.v = heads.v.view().data;
    args.kv_dtype = kv_dtype;
    table.split_heads(ctx, args);
    return heads;
  }
};

TEST_F(HeadsTest, MatchesRef) {
  for_each_instruction_set([&] {
    for (const HeadsCase& size : kCases) {
      for (const bool normalize : {false, true}) {
        for (const DType dtype : {DType::kF32, DType::kBF16}) {
          const Heads fast = run(cpu_table(), context(), size, normalize, dtype);
          const Heads plain = run(ref_table(), context(), size, normalize, dtype);
          EXPECT_TRUE(is_close(fast.q, plain.q, elementwise_tolerance(DType::kF32)));
          EXPECT_TRUE(is_close(fast.k, plain.k, elementwise_tolerance(dtype)));
          EXPECT_TRUE(is_close(fast.v, plain.v, elementwise_tolerance(dtype)));
        }
      }
    }
  });
}

TEST_F(HeadsTest, RotationMatchesRef) {
  constexpr HeadsCase kRotated[] = {{2, 5, 3, 3, 64}, {1, 3, 4, 2, 72}, {3, 2, 2, 2, 10}};
  for_each_instruction_set([&] {
    for (const HeadsCase& size : kRotated) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const Heads fast = run(cpu_table(), context(), size, true, dtype, true);
        const Heads plain = run(ref_table(), context(), size, true, dtype, true);
        EXPECT_TRUE(is_close(fast.q, plain.q, elementwise_tolerance(DType::kF32)));
        EXPECT_TRUE(is_close(fast.k, plain.k, elementwise_tolerance(dtype)));
        EXPECT_TRUE(same_bits(fast.v, run(cpu_table(), context(), size, true, dtype).v));
      }
    }
  });
}

TEST_F(HeadsTest, RotationTurnsNeighbouringChannelsTogether) {
  const float qkv[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  const float cosines[] = {0, 0, 1, 1};
  const float sines[] = {-1, 1, 0, 0};  // a quarter turn, and none
  float q[4];
  float k[4];
  float v[4];
  SplitHeadsArgs args{.qkv = qkv, .cosines = cosines, .sines = sines};
  args.rows = args.tokens = args.query_heads = args.kv_heads = 1;
  args.head_dim = 4;
  args.q = q;
  args.k = k;
  args.v = v;
  for (const KernelTable* table : {&cpu_table(), &ref_table()}) {
    table->split_heads(context(), args);
    EXPECT_EQ(std::vector<float>(q, q + 4), (std::vector<float>{-2, 1, 3, 4}));
    EXPECT_EQ(std::vector<float>(k, k + 4), (std::vector<float>{-6, 5, 7, 8}));
    EXPECT_EQ(std::vector<float>(v, v + 4), (std::vector<float>{9, 10, 11, 12}));
  }
}

TEST_F(HeadsTest, DoesNotDependOnThreads) {
  const HeadsCase size{2, 137, 6, 2, 64};
  const Heads one = run(cpu_table(), context(1), size, true, DType::kF32);
  const Heads two = run(cpu_table(), context(2), size, true, DType::kF32);
  EXPECT_TRUE(same_bits(one.q, two.q));
  EXPECT_TRUE(same_bits(one.k, two.k));
  EXPECT_TRUE(same_bits(one.v, two.v));
}

TEST_F(HeadsTest, WithoutNormalisationValuesAreCopied) {
  const HeadsCase size{1, 1, 1, 1, 16};
  const Tensor qkv = random_tensor(DType::kF32, {1, 1, 3, 16}, 1);
  const Heads heads = run(cpu_table(), context(), size, false, DType::kF32);
  EXPECT_TRUE(same_bits(heads.q.as<float>(), qkv.as<float>(), 64));
  EXPECT_TRUE(same_bits(heads.k.as<float>(), qkv.as<float>() + 16, 64));
  EXPECT_TRUE(same_bits(heads.v.as<float>(), qkv.as<float>() + 32, 64));
}

TEST_F(HeadsTest, RoundingToBf16IsExact) {
  Tensor qkv = random_tensor(DType::kF32, {1, 1, 3, 16}, 1);
  const float special[] = {0.0F,
                           -0.0F,
                           1.00390625F,  // halfway, even below
                           1.01171875F,  // halfway, even above
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::max(),
                           std::numeric_limits<float>::denorm_min()};
  std::copy(std::begin(special), std::end(special), qkv.as<float>() + 16);
  SplitHeadsArgs args{.qkv = qkv.as<float>()};
  args.rows = args.tokens = args.query_heads = args.kv_heads = 1;
  args.head_dim = 16;
  args.kv_dtype = DType::kBF16;
  Tensor q(DType::kF32, {16});
  Tensor k(DType::kBF16, {16});
  Tensor v(DType::kBF16, {16});
  args.q = q.as<float>();
  args.k = k.view().data;
  args.v = v.view().data;
  for_each_instruction_set([&] {
    cpu_table().split_heads(context(), args);
    for (int64_t at = 0; at < 16; ++at) {
      EXPECT_EQ(k.as<BFloat16>()[at].bits, to_bf16(qkv.as<float>()[16 + at]).bits);
      EXPECT_EQ(v.as<BFloat16>()[at].bits, to_bf16(qkv.as<float>()[32 + at]).bits);
    }
  });
}

}  // namespace
}  // namespace nextscale::kernels
