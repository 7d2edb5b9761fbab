// SPDX-License-Identifier: Apache-2.0
#include "compare/logits_divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace nextscale {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

ConstTensorView view(const std::vector<float>& values, const Shape& shape) {
  return {values.data(), DType::kF32, shape};
}

// KL of a fair coin against one with log odds `logit`.
double of_coin(double logit) {
  const double heads = 1 / (1 + std::exp(-logit));
  return 0.5 * std::log(0.5 / heads) + 0.5 * std::log(0.5 / (1 - heads));
}

TEST(MeanDivergence, IsTheMeanOverTokensOfEachImage) {
  const std::vector<float> fair(8, 0.0F);
  const std::vector<float> other{1, 0, 0, 0, 0, 2, 0, -3};  // two images of two tokens
  const Shape shape{2, 2, 2};
  EXPECT_THAT(mean_divergence(view(fair, shape), view(other, shape)),
              ElementsAre(DoubleNear(of_coin(1) / 2, 1e-9),
                          DoubleNear((of_coin(2) + of_coin(3)) / 2, 1e-9)));
}

TEST(MeanDivergence, AddsUpTheLabelsOfAToken) {
  const std::vector<float> fair(8, 0.0F);
  const std::vector<float> other{1, 0, 0, 0, 0, 2, 0, -3};  // one image, two tokens of two bits
  const Shape shape{1, 2, 2, 2};
  EXPECT_THAT(mean_divergence(view(fair, shape), view(other, shape)),
              ElementsAre(DoubleNear((of_coin(1) + of_coin(2) + of_coin(3)) / 2, 1e-9)));
}

TEST(MeanDivergence, IsOfTheReferenceAgainstTheOther) {
  const std::vector<float> fair{0, 0};
  const std::vector<float> sure{100, 0};
  const Shape shape{1, 1, 2};
  EXPECT_NEAR(mean_divergence(view(fair, shape), view(sure, shape))[0], -std::log(2.0) + 0.5 * 100,
              1e-6);
  EXPECT_NEAR(mean_divergence(view(sure, shape), view(fair, shape))[0], std::log(2.0), 1e-6);
}

TEST(MeanDivergence, DoesNotSeeConstantsAndTakesAnySize) {
  const std::vector<float> one{3e4F, 3e4F - 1, 3e4F - 3};
  const std::vector<float> other{-1e4F, -1e4F - 1, -1e4F - 3};
  EXPECT_THAT(mean_divergence(view(one, {1, 1, 3}), view(other, {1, 1, 3})), ElementsAre(0.0));
}

TEST(LogitsDivergence, ComparesScaleByScaleWhatIsGuided) {
  const std::vector<float> fair(4, 0.0F);
  const std::vector<float> other{1, 0, 0, 0};
  ReferenceLogits reference;
  LogitsDivergence divergence(reference);
  for (TraceSink* sink :
       {static_cast<TraceSink*>(&reference), static_cast<TraceSink*>(&divergence)}) {
    const bool is_reference = sink == &reference;
    sink->record("logits_raw.0", view(other, {2, 1, 2}));
    sink->record("logits.0", view(fair, {2, 1, 2}));
    sink->record("tokens.0", view(other, {2, 1, 2}));
    sink->record("logits.1", view(is_reference ? fair : other, {1, 2, 2}));
  }
  EXPECT_EQ(reference.scales().size(), 2U);
  EXPECT_THAT(divergence.per_scale(),
              ElementsAre(ElementsAre(0.0, 0.0), ElementsAre(DoubleNear(of_coin(1) / 2, 1e-9))));
}

}  // namespace
}  // namespace nextscale
