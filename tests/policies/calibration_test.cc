// SPDX-License-Identifier: Apache-2.0
#include "policies/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "nextscale/error.h"

namespace nextscale {
namespace {

const Geometry kGeometry{.layers = 2,
                         .query_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 8,
                         .scales = {{1, 1}, {2, 3}, {4, 4}}};

// What require_calibration_of says after `change`.
std::string refusal(const std::function<void(Calibration*)>& change) {
  Calibration calibration = flat_calibration(kGeometry);
  change(&calibration);
  try {
    require_calibration_of(calibration, kGeometry);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMismatch);
    return error.what();
  }
  return "";
}

TEST(FlatCalibration, IsOfItsGeometry) {
  EXPECT_EQ(refusal([](Calibration*) {}), "");
}

TEST(FlatCalibration, SharesAttentionByTokens) {
  const Calibration flat = flat_calibration(kGeometry);
  EXPECT_DOUBLE_EQ(flat.mass_of({.layer = 1, .head = 1}, 2, 1), 6.0 / 23);
  EXPECT_EQ(flat.mass_of({.layer = 1, .head = 1}, 1, 2), 0.0);
}

TEST(Calibration, OfAnotherGeometryIsRefusedSayingWhatDiffers) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal([](Calibration* other) { other->layers = 3; }), HasSubstr("3 layers"));
  EXPECT_THAT(refusal([](Calibration* other) { other->kv_heads = 8; }), HasSubstr("8 key/value"));
  EXPECT_THAT(refusal([](Calibration* other) { other->scales.pop_back(); }), HasSubstr("2 scales"));
  EXPECT_THAT(refusal([](Calibration* other) { other->scales[1] = {3, 2}; }), HasSubstr("scale 1"));
  EXPECT_THAT(refusal([](Calibration* other) { other->mass.pop_back(); }), HasSubstr("'mass'"));
  EXPECT_THAT(refusal([](Calibration* other) { other->drafters = {1}; }), HasSubstr("'drafters'"));
  EXPECT_THAT(refusal([](Calibration* other) { other->sigma[0] = std::nan(""); }),
              HasSubstr("no number"));
  EXPECT_THAT(refusal([](Calibration* other) { other->layer_budgets.assign(6, 0); }),
              HasSubstr("'layer_budgets'"));
}

TEST(Calibration, HoldsEveryHeadOnceInItsOrders) {
  const std::vector<LayerHead> order{{0, 1}, {1, 1}, {1, 0}, {0, 0}};
  const auto with_order = [](std::vector<LayerHead> one) {
    return refusal([&](Calibration* other) { other->removal_orders = {{}, std::move(one), {}}; });
  };
  EXPECT_EQ(with_order(order), "");
  EXPECT_NE(with_order({{0, 1}, {1, 1}, {1, 0}, {1, 0}}), "");
  EXPECT_NE(with_order({{0, 1}, {1, 1}, {1, 0}, {2, 0}}), "");
  EXPECT_NE(with_order({{0, 1}, {1, 1}, {1, 0}, {0, -1}}), "");
  EXPECT_NE(with_order({{0, 1}}), "");
}

TEST(Calibration, MayHoldImportedResultsAlone) {
  EXPECT_EQ(refusal([](Calibration* other) {
              other->mass.clear();
              other->sigma.clear();
              other->asi.clear();
            }),
            "");
}

}  // namespace
}  // namespace nextscale
