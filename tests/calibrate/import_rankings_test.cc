// SPDX-License-Identifier: Apache-2.0
#include "calibrate/import_rankings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "calibrate/some_calibration.h"
#include "nextscale/error.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Geometry infinity(int64_t layers, int64_t heads) {
  Geometry geometry{
      .layers = layers, .query_heads = heads, .kv_heads = heads, .head_dim = 128, .scales = {}};
  for (const int64_t side : {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64}) {
    geometry.scales.push_back({side, side});
  }
  return geometry;
}

fs::path published(const std::string& name) {
  return fs::path(NEXTSCALE_TEST_DATA) / "methods" / "official" / name;
}

Calibration empty_calibration(const Geometry& geometry) {
  Calibration calibration;
  calibration.layers = geometry.layers;
  calibration.kv_heads = geometry.kv_heads;
  calibration.scales = geometry.scales;
  return calibration;
}

TEST(ImportedRankings, OfHeatkvRankEveryHeadOfThePrunableScales) {
  const Geometry geometry = infinity(32, 16);
  Calibration calibration = empty_calibration(geometry);
  import_heatkv_orders(published("heatkv_orders_2b.json"), geometry, calibration);
  ASSERT_EQ(calibration.removal_orders.size(), 13U);
  for (size_t scale = 0; scale < 13; ++scale) {
    EXPECT_EQ(calibration.removal_orders[scale].size(), scale < 3 || scale == 12 ? 0U : 512U);
  }
  // The file begins with head 14 of layer 0 and head 7 of layer 8.
  EXPECT_EQ(calibration.removal_orders[3][0], (LayerHead{.layer = 0, .head = 14}));
  EXPECT_EQ(calibration.removal_orders[3][1], (LayerHead{.layer = 8, .head = 7}));
}

TEST(ImportedRankings, OfScalekvGiveBudgetsByRole) {
  const Geometry geometry = infinity(32, 16);
  Calibration calibration = empty_calibration(geometry);
  import_scalekv_budgets(published("scalekv_budget_2b_10pct.json"), geometry, calibration);
  const auto at = [](size_t step, size_t layer) { return step * 32 + layer; };
  EXPECT_EQ(calibration.layer_budgets[at(7, 0)], 0);
  EXPECT_EQ(calibration.layer_budgets[at(8, 0)], 920);
  EXPECT_EQ(calibration.layer_budgets[at(8, 1)], 632);
  EXPECT_EQ(calibration.layer_budgets[at(12, 0)], 6385);
  EXPECT_EQ(calibration.layer_budgets[at(12, 23)], 465);
  EXPECT_EQ(calibration.drafters[at(11, 23)], 1);
  EXPECT_EQ(calibration.drafters[at(12, 23)], 0);
}

TEST(ImportedRankings, OfAnotherModelAreRefused) {
  Calibration calibration = empty_calibration(infinity(32, 16));
  EXPECT_THAT(
      [&] {
        import_heatkv_orders(published("heatkv_orders_8b.json"), infinity(32, 16), calibration);
      },
      testing::ThrowsMessage<Error>(HasSubstr("rankings of 1120 heads")));
  EXPECT_THAT(
      [&] {
        import_scalekv_budgets(published("scalekv_budget_8b_10pct.json"), infinity(32, 16),
                               calibration);
      },
      testing::ThrowsMessage<Error>(HasSubstr("more blocks than the model's 32 layers")));
}

class DamagedRankings : public testing::Test {
 protected:
  // What importing such a text says; empty if it is accepted.
  template <typename Import>
  std::string refusal(const Import& import, const std::string& text) {
    const fs::path path = folder_.path() / "ranking.json";
    std::ofstream(path) << text;
    Calibration calibration = empty_calibration(some_geometry());
    try {
      import(path, some_geometry(), calibration);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::string heatkv(const std::string& text) { return refusal(import_heatkv_orders, text); }
  std::string scalekv(const std::string& text) { return refusal(import_scalekv_budgets, text); }

  TemporaryFolder folder_;
};

TEST_F(DamagedRankings, OfHeatkvAreRefused) {
  EXPECT_EQ(heatkv("[[[0,0],[1,0],[0,1],[1,1],[0,2],[1,2]]]"), "");
  EXPECT_THAT(heatkv("{}"), HasSubstr("no list of rankings"));
  EXPECT_THAT(heatkv("[1"), HasSubstr("json"));
  EXPECT_THAT(heatkv("[[],[],[],[]]"), HasSubstr("at most 3"));
  EXPECT_THAT(heatkv("[[[0,0]]]"), HasSubstr("rankings of 1 heads"));
  EXPECT_THAT(heatkv("[[[0,0],[1,0],[0,1],[1,1],[0,2],[0,2]]]"), HasSubstr("once"));
  EXPECT_THAT(heatkv("[[[0,0],[1,0],[0,1],[1,1],[0,2],[2,2]]]"), HasSubstr("head 2 of layer 2"));
  EXPECT_THAT(heatkv("[[[0,0],[1,0],[0,1],[1,1],[0,2],[-1,2]]]"), HasSubstr("no [head, layer]"));
  EXPECT_THAT(heatkv("[[[0,0],[1,0],[0,1],[1,1],[0,2],[1e300,2]]]"), HasSubstr("no [head, layer]"));
}

TEST_F(DamagedRankings, OfScalekvAreRefused) {
  const std::string sound =
      R"({"Scale 4":{"Block 0":1,"Block 1":0,"Block 2":0,"High":1,"Max":20,"Min":5,"Limit":23}})";
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = sound;
    return scalekv(text.replace(text.find(from), from.size(), to));
  };
  EXPECT_EQ(scalekv(sound), "");
  EXPECT_THAT(scalekv("[]"), HasSubstr("no object of scales"));
  EXPECT_THAT(with("Scale 4", "Scale 5"), HasSubstr("scale 5; the model has 4"));
  EXPECT_THAT(with("Scale 4", "Skale 4"), HasSubstr("'Scale 9' was wanted"));
  EXPECT_THAT(with("\"Block 1\":0,", ""), HasSubstr("without 'Block 1'"));
  EXPECT_THAT(with("\"Block 1\":0", "\"Block 1\":2"), HasSubstr("neither 0 nor 1"));
  EXPECT_THAT(with("\"High\":1", "\"High\":2"), HasSubstr("1 drafters"));
  EXPECT_THAT(with("\"Max\":20", "\"Max\":99"), HasSubstr("a budget of 99"));
  EXPECT_THAT(with("\"Min\":5", "\"Min\":0"), HasSubstr("a budget of 0"));
}

}  // namespace
}  // namespace nextscale
