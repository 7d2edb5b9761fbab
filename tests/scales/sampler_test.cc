// SPDX-License-Identifier: Apache-2.0
#include "scales/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "nextscale/error.h"

namespace nextscale {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

std::vector<float> filtered(std::vector<float> row, const SamplerSettings& settings) {
  std::vector<int32_t> order(row.size());
  filter_logits(settings, row, order);
  return row;
}

TEST(Sampler, TopKKeepsTies) {
  EXPECT_THAT(filtered({1, 3, 2, 3, 2}, {.top_k = 3}), testing::ElementsAre(kRemoved, 3, 2, 3, 2));
}

TEST(Sampler, TopPAlwaysKeepsTheLikeliest) {
  EXPECT_THAT(filtered({1, 5, 2}, {.top_p = 1e-6F}), testing::ElementsAre(kRemoved, 5, kRemoved));
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  EXPECT_EQ(greedy_token(std::vector<float>{1, 4, 4, 2}), 1);
}

TEST(Sampler, DrawsInProportionToProbability) {
  const std::vector<float> row{0.0F, std::log(3.0F), kRemoved};
  EXPECT_EQ(draw_token(row, 0.0F), 0);
  EXPECT_EQ(draw_token(row, 0.249F), 0);
  EXPECT_EQ(draw_token(row, 0.251F), 1);
  EXPECT_EQ(draw_token(row, 0x1.fffffep-1F), 1);
}

TEST(Sampler, LogitsThatAreNoNumbersAreAnErrorNotAPicture) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), kRemoved}) {
    Arena scratch(1 << 16, "a test");
    Context context;
    context.scratch = &scratch;
    std::vector<float> logits{1, 2, bad, 4};
    const std::vector<uint32_t> images{0};
    int32_t token = 0;
    EXPECT_THROW(sample_labels(context, {.settings = {.top_k = 2, .top_p = 0.5F},
                                         .logits = logits.data(),
                                         .images = 1,
                                         .tokens = 1,
                                         .categories = 4,
                                         .image_indices = images,
                                         .out = &token}),
                 Error);
  }
}

}  // namespace
}  // namespace nextscale
