// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace nextscale::kernels {
namespace {

// Channels and widths of the decoders' kind next to awkward ones.
constexpr ConvSpec kSpecs[] = {
    {.in_channels = 1, .out_channels = 1, .kernel = 3, .width = 1},
    {.in_channels = 5, .out_channels = 7, .kernel = 3, .width = 3},
    {.in_channels = 32, .out_channels = 3, .kernel = 3, .width = 17},
    {.in_channels = 33, .out_channels = 16, .kernel = 1, .width = 13},
    {.in_channels = 64, .out_channels = 64, .kernel = 3, .width = 24},
    {.in_channels = 160, .out_channels = 48, .kernel = 3, .width = 16},
    {.in_channels = 160, .out_channels = 320, .kernel = 1, .width = 8},
    {.in_channels = 64, .out_channels = 160, .kernel = 3, .width = 66},
    {.in_channels = 80, .out_channels = 64, .kernel = 3, .width = 64},
};

constexpr int64_t kPictureRows = 17;

std::string describe(const ConvSpec& spec) {
  return fmt::format("{} -> {} channels, kernel {}, width {}", spec.in_channels, spec.out_channels,
                     spec.kernel, spec.width);
}

class ConvTest : public KernelTest {
 protected:
  // The picture [kPictureRows + kernel - 1, width, in], convolved in strips of at most strip_rows.
  Tensor run(const KernelTable& table, const ConvSpec& spec, int64_t strip_rows, int num_threads) {
    const Context ctx = context(num_threads);
    const Tensor weight = random_tensor(
        DType::kF32, {spec.out_channels, spec.in_channels, spec.kernel, spec.kernel}, 1);
    const Tensor bias = random_tensor(DType::kF32, {spec.out_channels}, 2);
    const Tensor x = random_tensor(
        DType::kF32, {kPictureRows + spec.kernel - 1, spec.width, spec.in_channels}, 3);
    const auto conv = table.make_conv(ctx, spec, view_of(weight), view_of(bias));
    Tensor y(DType::kF32, {kPictureRows, spec.width, spec.out_channels});
    for (int64_t first = 0; first < kPictureRows; first += strip_rows) {
      const int64_t rows = std::min(strip_rows, kPictureRows - first);
      conv->prepare(rows);
      conv->run(ctx, x.as<float>() + first * spec.width * spec.in_channels,
                y.as<float>() + first * spec.width * spec.out_channels, rows);
    }
    return y;
  }
};

TEST_F(ConvTest, MatchesRef) {
  for (const ConvSpec& spec : kSpecs) {
    SCOPED_TRACE(describe(spec));
    EXPECT_TRUE(is_close(run(cpu_table(), spec, kPictureRows, 2),
                         run(ref_table(), spec, kPictureRows, 2),
                         convolution_tolerance(spec.in_channels * spec.kernel * spec.kernel)));
  }
}

TEST_F(ConvTest, DoesNotDependOnAlignedStrips) {
  for (const ConvSpec& spec : kSpecs) {
    SCOPED_TRACE(describe(spec));
    const Tensor whole = run(cpu_table(), spec, kPictureRows, 2);
    for (const int64_t strip_rows : {4, 8, 12, 16}) {
      EXPECT_TRUE(same_bits(run(cpu_table(), spec, strip_rows, 2), whole)) << strip_rows << " rows";
    }
  }
}

TEST_F(ConvTest, DoesNotDependOnThreads) {
  for (const ConvSpec& spec : kSpecs) {
    SCOPED_TRACE(describe(spec));
    EXPECT_TRUE(same_bits(run(cpu_table(), spec, kPictureRows, 1),
                          run(cpu_table(), spec, kPictureRows, 2)));
  }
}

TEST_F(ConvTest, ZeroPadsColumnsOnly) {
  // All ones: an output counts the taps that lie in the picture.
  const ConvSpec spec{.in_channels = 1, .out_channels = 1, .kernel = 3, .width = 3};
  const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  const float zero = 0.0F;
  for (const KernelTable* table : {&ref_table(), &cpu_table()}) {
    const auto conv = table->make_conv(context(), spec, {ones, DType::kF32, {1, 1, 3, 3}},
                                       {&zero, DType::kF32, {1}});
    conv->prepare(1);
    float y[3] = {};
    conv->run(context(), ones, y, 1);
    EXPECT_EQ(std::vector<float>(y, y + 3), (std::vector<float>{6, 9, 6})) << table->name;
  }
}

}  // namespace
}  // namespace nextscale::kernels
