// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

struct Stats {
  std::vector<float> mean, inverse;
};

// Statistics of a picture that comes in strips of `strip_rows`.
Stats run_stats(const KernelTable& table, const Context& ctx, const Tensor& x, int64_t groups,
                int64_t strip_rows = 1 << 20) {
  constexpr float kEpsilon = 1e-6F;
  const int64_t rows = x.shape()[0];
  GroupSums sums;
  GroupSumsArgs args{.width = x.shape()[1], .channels = x.shape()[2], .groups = groups};
  args.sums = &sums;
  for (int64_t row = 0; row < rows; row += args.rows) {
    args.rows = std::min(strip_rows, rows - row);
    args.x = x.as<float>() + row * args.width * args.channels;
    table.group_sums(ctx, args);
  }
  Stats stats{std::vector<float>(static_cast<size_t>(groups)),
              std::vector<float>(static_cast<size_t>(groups))};
  group_moments(sums, groups, rows * args.width * args.channels / groups, kEpsilon,
                stats.mean.data(), stats.inverse.data());
  return stats;
}

struct StatsCase {
  int64_t rows, width, channels, groups;
};

constexpr StatsCase kStatsCases[] = {{1, 1, 1, 1},     {1, 1, 32, 32},    {7, 1, 64, 32},
                                     {1, 31, 160, 32}, {16, 16, 640, 32}, {41, 100, 33, 3},
                                     {100, 10, 20, 4}, {1, 97, 128, 64}};

class DecoderTest : public KernelTest {};

TEST_F(DecoderTest, GroupStatsMatchRef) {
  for_each_instruction_set([&] {
    for (const StatsCase& size : kStatsCases) {
      const Tensor x = random_tensor(DType::kF32, {size.rows, size.width, size.channels}, 1, 4.0F);
      const Stats fast = run_stats(cpu_table(), context(), x, size.groups);
      const Stats plain = run_stats(ref_table(), context(), x, size.groups);
      for (size_t group = 0; group < fast.mean.size(); ++group) {
        EXPECT_NEAR(fast.mean[group], plain.mean[group], 1e-6);
        EXPECT_NEAR(fast.inverse[group] / plain.inverse[group], 1.0, 1e-6);
      }
    }
  });
}

TEST_F(DecoderTest, GroupStatsSurviveALargeMean) {
  // Values around 100 that differ by thousandths: squares in f32 would lose the variance.
  constexpr int64_t kPixels = 5000;
  Tensor x = random_tensor(DType::kF32, {50, 100, 32}, 2, 0.01F);
  for (int64_t index = 0; index < kPixels * 32; ++index) x.as<float>()[index] += 100.0F;
  const Stats fast = run_stats(cpu_table(), context(), x, 4);
  const Stats plain = run_stats(ref_table(), context(), x, 4);
  for (size_t group = 0; group < 4; ++group) {
    EXPECT_EQ(fast.mean[group], plain.mean[group]);
    EXPECT_NEAR(fast.inverse[group] / plain.inverse[group], 1.0, 1e-5);
  }
}

TEST_F(DecoderTest, GroupStatsDoNotDependOnThreadsOrStrips) {
  const Tensor x = random_tensor(DType::kF32, {67, 61, 160}, 3);
  const Stats one = run_stats(cpu_table(), context(1), x, 32);
  for (const Stats& other :
       {run_stats(cpu_table(), context(2), x, 32), run_stats(cpu_table(), context(2), x, 32, 5)}) {
    EXPECT_EQ(one.mean, other.mean);
    EXPECT_EQ(one.inverse, other.inverse);
  }
}

struct GatherCase {
  int64_t height, width, channels, groups;
};

constexpr GatherCase kGatherCases[] = {
    {1, 1, 1, 1}, {5, 3, 64, 32}, {4, 7, 160, 32}, {3, 2, 1030, 2}};

struct GatherMode {
  bool doubled, normalize, silu;
};

// Rows [first, first + rows) of a picture of random values.
Tensor gather(const KernelTable& table, const Context& ctx, const GatherCase& size,
              const GatherMode& mode, int64_t first, int64_t rows) {
  const Tensor x = random_tensor(DType::kF32, {size.height, size.width, size.channels}, 4, 3.0F);
  const Tensor mean = random_tensor(DType::kF32, {size.groups}, 5);
  const Tensor inverse = random_tensor(DType::kF32, {size.groups}, 6);
  const Tensor weight = random_tensor(DType::kF32, {size.channels}, 7);
  const Tensor bias = random_tensor(DType::kF32, {size.channels}, 8);
  Tensor out(DType::kF32, {rows, size.width * (mode.doubled ? 2 : 1), size.channels});
  GatherRowsArgs args{.x = x.as<float>(), .height = size.height, .width = size.width};
  args.channels = size.channels;
  args.doubled = mode.doubled;
  args.first_row = first;
  args.rows = rows;
  if (mode.normalize) {
    args.mean = mean.as<float>();
    args.inverse = inverse.as<float>();
    args.weight = weight.as<float>();
    args.bias = bias.as<float>();
  }
  args.groups = size.groups;
  args.silu = mode.silu;
  args.out = out.as<float>();
  table.gather_rows(ctx, args);
  return out;
}

TEST_F(DecoderTest, GatherRowsMatchesRef) {
  for_each_instruction_set([&] {
    for (const GatherCase& size : kGatherCases) {
      for (const bool doubled : {false, true}) {
        for (const bool normalize : {false, true}) {
          for (const bool silu : {false, true}) {
            const GatherMode mode{doubled, normalize, silu};
            EXPECT_TRUE(is_close(gather(cpu_table(), context(), size, mode, -2, 9),
                                 gather(ref_table(), context(), size, mode, -2, 9),
                                 elementwise_tolerance(DType::kF32)));
          }
        }
      }
    }
  });
}

TEST_F(DecoderTest, GatherRowsDoesNotDependOnThreadsOrStrips) {
  const GatherCase size = kGatherCases[2];
  const GatherMode mode{.doubled = true, .normalize = true, .silu = true};
  const Tensor whole = gather(cpu_table(), context(2), size, mode, -1, 10);
  EXPECT_TRUE(same_bits(gather(cpu_table(), context(1), size, mode, -1, 10), whole));
  const Tensor strip = gather(cpu_table(), context(2), size, mode, 2, 3);
  const int64_t row_elements = 2 * size.width * size.channels;
  EXPECT_TRUE(
      same_bits(strip.as<float>(), whole.as<float>() + 3 * row_elements, strip.num_bytes()));
}

TEST_F(DecoderTest, GatherRowsReadsFromAWindowOfThePicture) {
  const Tensor x = random_tensor(DType::kF32, {6, 3, 8}, 4);
  Tensor whole(DType::kF32, {4, 3, 8});
  Tensor window(DType::kF32, {4, 3, 8});
  GatherRowsArgs args{.x = x.as<float>(), .height = 6, .width = 3, .channels = 8};
  args.first_row = 3;
  args.rows = 4;
  for (const KernelTable* table : {&cpu_table(), &ref_table()}) {
    args.out = whole.as<float>();
    table->gather_rows(context(), args);
    GatherRowsArgs moved = args;
    moved.x += 2 * 3 * 8;
    moved.first_held = 2;
    moved.out = window.as<float>();
    table->gather_rows(context(), moved);
    EXPECT_TRUE(same_bits(whole, window));
  }
}

TEST_F(DecoderTest, RowsOutsideThePictureAreZero) {
  const GatherMode mode{.doubled = false, .normalize = true, .silu = true};
  const Tensor rows = gather(cpu_table(), context(), kGatherCases[1], mode, 5, 2);
  EXPECT_TRUE(same_bits(rows, Tensor::zeros(DType::kF32, rows.shape())));
}

}  // namespace
}  // namespace nextscale::kernels
