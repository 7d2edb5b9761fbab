// SPDX-License-Identifier: Apache-2.0
#include "attention/token_weights.h"

#include <gtest/gtest.h>

#include <vector>

namespace nextscale {
namespace {

constexpr int64_t kHeadDim = 4;

// Six tokens in four directions: 0 and 3 alike, 1 and 4 alike, 5 nearly as 2.
const std::vector<float> kKeys{1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0,
                               9, 0, 0, 0, 0, 5, 0, 0, 0, 1, 7, 0};
const std::vector<float> kValues{1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
                                 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6};

struct Gathered {
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<uint8_t> absorbed;
  std::vector<float> weights;
};

// The first two tokens are cached.
Gathered gather(const std::vector<float>& weights, const std::vector<int32_t>& staying,
                const kernels::KernelTable& kernels) {
  const auto count = static_cast<int64_t>(staying.size());
  Arena arena(WeightSpace::bytes(kernels, count, kHeadDim) +
                  MergedTokens::bytes(count, kHeadDim, DType::kF32),
              "a test");
  WeightSpace space = WeightSpace::take(arena, kernels, count, kHeadDim);
  const MergedTokens out = MergedTokens::take(arena, count, kHeadDim, DType::kF32);
  Gathered result;
  result.weights.resize(staying.size());
  const Candidates candidates{
      .cached = {.k = kKeys.data(), .v = kValues.data(), .tokens = 2},
      .current = {.k = &kKeys[2 * kHeadDim], .v = &kValues[2 * kHeadDim], .tokens = 4},
      .head_dim = kHeadDim};
  gather_weights(kernels, {.tokens = candidates, .weights = weights}, staying, space, out,
                 result.weights);
  const auto* keys = reinterpret_cast<const float*>(out.k);
  const auto* values = reinterpret_cast<const float*>(out.v);
  result.keys.assign(keys, keys + count * kHeadDim);
  for (int64_t index = 0; index < count; ++index) {
    result.values.push_back(values[index * kHeadDim]);
  }
  result.absorbed.assign(out.absorbed.begin(), out.absorbed.end());
  return result;
}

TEST(GatherWeights, GivesWhatIsDroppedToItsNearest) {
  for (const auto* kernels : {&kernels::ref_table(), &kernels::cpu_table()}) {
    const Gathered got = gather({1, 1, 1, 1, 1, 1}, {0, 1, 2}, *kernels);
    EXPECT_EQ(got.weights, (std::vector<float>{2, 2, 2}));
    EXPECT_EQ(got.values, (std::vector<float>{2.5F, 3.5F, 4.5F}));
    EXPECT_EQ(got.keys, (std::vector<float>(kKeys.begin(), kKeys.begin() + 3 * kHeadDim)));
    EXPECT_EQ(got.absorbed, (std::vector<uint8_t>{1, 1, 1}));
  }
}

TEST(GatherWeights, CountsTokensThatStandForSeveral) {
  const Gathered got = gather({3, 1, 1, 1, 1, 7}, {0, 2}, kernels::cpu_table());
  // Directions 1 and 4 are like neither: the first takes them.
  EXPECT_EQ(got.weights, (std::vector<float>{3 + 1 + 1 + 1, 1 + 7}));
  EXPECT_EQ(got.values, (std::vector<float>{(3 * 1 + 2 + 4 + 5) / 6.0F, (3 + 7 * 6) / 8.0F}));
}

TEST(GatherWeights, ChangesNothingWhereNothingWasDropped) {
  const Gathered got = gather({1, 2, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 5}, kernels::cpu_table());
  EXPECT_EQ(got.weights, (std::vector<float>{1, 2, 1, 1, 1, 1}));
  EXPECT_EQ(got.keys, kKeys);
  EXPECT_EQ(got.values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(got.absorbed, (std::vector<uint8_t>(6, 0)));
}

// Dropped tokens are looked up in blocks; here are several.
TEST(GatherWeights, LosesNoWeight) {
  constexpr int64_t kTokens = 200;
  std::vector<float> keys;
  for (int64_t at = 0; at < kTokens * kHeadDim; ++at) {
    keys.push_back(static_cast<float>(at * 37 % 101) / 50 - 1);
  }
  const std::vector<float> weights(kTokens, 1.0F);
  const std::vector<int32_t> staying{5, 50, 199};
  const auto& kernels = kernels::cpu_table();
  Arena arena(
      WeightSpace::bytes(kernels, 3, kHeadDim) + MergedTokens::bytes(3, kHeadDim, DType::kF32),
      "a test");
  WeightSpace space = WeightSpace::take(arena, kernels, 3, kHeadDim);
  const MergedTokens out = MergedTokens::take(arena, 3, kHeadDim, DType::kF32);
  const Candidates candidates{.cached = {},
                              .current = {.k = keys.data(), .v = keys.data(), .tokens = kTokens},
                              .head_dim = kHeadDim};
  std::vector<float> got(3);
  gather_weights(kernels, {.tokens = candidates, .weights = weights}, staying, space, out, got);
  EXPECT_EQ(got[0] + got[1] + got[2], static_cast<float>(kTokens));
}

}  // namespace
}  // namespace nextscale
