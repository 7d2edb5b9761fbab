// SPDX-License-Identifier: Apache-2.0
// Unit vectors made with PyTorch (tests/data/var/README.md), for both tables.
#include <string>

#include "tests/kernels/kernel_test.h"
#include "weights/safetensors.h"

namespace nextscale::kernels {
namespace {

class GoldenTest : public KernelTest, public ::testing::WithParamInterface<const KernelTable*> {
 protected:
  const KernelTable& table() const { return *GetParam(); }

  Tensor read(const std::string& name) {
    const TensorInfo& info = *file_.find(name);
    Tensor result(info.dtype, info.shape);
    file_.read(name, {result.as<std::byte>(), result.num_bytes()});
    return result;
  }

 private:
  SafetensorsFile file_{NEXTSCALE_TEST_DATA "/var/ops/expected.safetensors"};
};

TEST_P(GoldenTest, LayerNorm) {
  const Tensor x = read("layer_norm.in");  // [4, 64]
  const Tensor zeros = Tensor::zeros(DType::kF32, {64});
  Tensor out(DType::kF32, x.shape());
  LayerNormArgs args{.x = x.as<float>(), .scale = zeros.as<float>(), .shift = zeros.as<float>()};
  args.rows = 1;
  args.tokens = 4;
  args.width = 64;
  args.out = out.view().data;
  table().layer_norm(context(), args);
  EXPECT_TRUE(is_close(out, read("layer_norm.out"), kGoldenTolerance));
}

// [channels, pixels] to [pixels, channels].
Tensor channels_last(const float* x, int64_t channels, int64_t pixels) {
  Tensor result(DType::kF32, {pixels, channels});
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      result.as<float>()[pixel * channels + channel] = x[channel * pixels + pixel];
    }
  }
  return result;
}

TEST_P(GoldenTest, GroupNormWithAndWithoutSilu) {
  constexpr int64_t kChannels = 64;
  constexpr int64_t kGroups = 32;
  constexpr int64_t kPixels = 9;
  constexpr float kEpsilon = 1e-6F;
  const Tensor in = read("group_norm.in");  // [2, 64, 3, 3]
  const Tensor weight = read("group_norm.weight");
  const Tensor bias = read("group_norm.bias");
  for (const bool silu : {false, true}) {
    const Tensor expected = read(silu ? "group_norm_silu.out" : "group_norm.out");
    for (int64_t image = 0; image < 2; ++image) {
      const int64_t start = image * kChannels * kPixels;
      const Tensor x = channels_last(in.as<float>() + start, kChannels, kPixels);
      float mean[kGroups];
      float inverse[kGroups];
      GroupSums sums;
      table().group_sums(
          context(),
          {.x = x.as<float>(), .rows = 3, .width = 3, .channels = kChannels, .sums = &sums});
      group_moments(sums, kGroups, kPixels * kChannels / kGroups, kEpsilon, mean, inverse);
      Tensor out(DType::kF32, {kPixels, kChannels});
      table().gather_rows(context(), {.x = x.as<float>(),
                                      .height = 3,
                                      .width = 3,
                                      .channels = kChannels,
                                      .rows = 3,
                                      .mean = mean,
                                      .inverse = inverse,
                                      .weight = weight.as<float>(),
                                      .bias = bias.as<float>(),
                                      .silu = silu,
                                      .out = out.as<float>()});
      EXPECT_TRUE(is_close(out, channels_last(expected.as<float>() + start, kChannels, kPixels),
                           kGoldenTolerance));
    }
  }
}

TEST_P(GoldenTest, Gelu) {
  const Tensor x = read("gelu.in");  // [97]
  const float one = 1.0F;
  const LinearSpec spec{.in_features = 1, .out_features = 1, .activation = Activation::kGeluTanh};
  const auto linear = table().make_linear(context(), spec, {.matrix = {&one, DType::kF32, {1, 1}}});
  Tensor y(DType::kF32, x.shape());
  linear->prepare(97);
  linear->run(context(), x.as<float>(), y.as<float>(), 97);
  EXPECT_TRUE(is_close(y, read("gelu.out"), kGoldenTolerance));
}

TEST_P(GoldenTest, L2Normalize) {
  const Tensor x = read("l2_normalize.in");  // [3, 64]: one row below the floor, one of zeros
  const float head_scale[] = {1.0F};
  Tensor qkv(DType::kF32, {3, 3, 64});
  for (int64_t token = 0; token < 3; ++token) {
    for (int64_t part = 0; part < 3; ++part) {
      std::copy_n(x.as<float>() + token * 64, 64, qkv.as<float>() + (token * 3 + part) * 64);
    }
  }
  Tensor q(DType::kF32, {3, 64});
  Tensor k(DType::kF32, {3, 64});
  Tensor v(DType::kF32, {3, 64});
  table().split_heads(context(), {.qkv = qkv.as<float>(),
                                  .head_scale = head_scale,
                                  .normalize = true,
                                  .rows = 1,
                                  .tokens = 3,
                                  .query_heads = 1,
                                  .kv_heads = 1,
                                  .head_dim = 64,
                                  .q = q.as<float>(),
                                  .k = k.view().data,
                                  .v = v.view().data});
  const Tensor expected = read("l2_normalize.out");
  EXPECT_TRUE(is_close(q, expected, kGoldenTolerance));
  EXPECT_TRUE(is_close(k, expected, kGoldenTolerance));
  EXPECT_TRUE(same_bits(v, x));
}

INSTANTIATE_TEST_SUITE_P(Tables, GoldenTest, ::testing::Values(&ref_table(), &cpu_table()),
                         [](const auto& instance) { return std::string(instance.param->name); });

}  // namespace
}  // namespace nextscale::kernels
