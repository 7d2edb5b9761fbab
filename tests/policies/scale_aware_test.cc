// SPDX-License-Identifier: Apache-2.0
// ScaleKV and HeatKV against their unit cases, their published tables and schedules made with the
// official code (tests/data/methods/official).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "nextscale/error.h"
#include "policies/heatkv.h"
#include "policies/method_data.h"
#include "policies/registry.h"
#include "policies/scalekv.h"

namespace nextscale {
namespace {

using nlohmann::json;

TEST(ScalekvWindow, GivesTheReferenceTokens) {
  for (const json& unit : unit_cases("scalekv_window")) {
    const int64_t side = unit.at("grid");
    std::vector<int32_t> out(unit.at("length").get<size_t>());
    const int64_t count =
        scalekv_window({unit.at("h"), unit.at("w")}, side * side, unit.at("length"), out);
    out.resize(static_cast<size_t>(count));
    EXPECT_EQ(out, unit.at("rows").get<std::vector<int32_t>>()) << unit;
  }
}

TEST(HeatCounts, GiveTheReferenceCounts) {
  for (const json& unit : unit_cases("heat_counts")) {
    std::vector<Grid> scales;
    for (const int64_t tokens : unit.at("tokens")) scales.push_back({1, tokens});
    int64_t peak = 0;
    for (size_t scale = 0; scale + 1 < scales.size(); ++scale) peak += scales[scale].tokens();
    const HeatBudget budget{.tokens = unit.at("budget").get<double>() * static_cast<double>(peak),
                            .sink = unit.at("sink")};
    EXPECT_EQ(heat_counts(scales, budget, unit.at("slots")),
              unit.at("counts").get<std::vector<int64_t>>())
        << unit;
  }
}

// Infinity at 1M: 2B and 8B.
Geometry infinity(int64_t layers, int64_t heads) {
  Geometry geometry{
      .layers = layers, .query_heads = heads, .kv_heads = heads, .head_dim = 128, .scales = {}};
  for (const int64_t side : {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64}) {
    geometry.scales.push_back({side, side});
  }
  return geometry;
}

// The published ranking: lists for scales 3 to 11 of [head, layer].
std::vector<std::vector<LayerHead>> published_orders(const std::string& model) {
  const json lists = read_method_data("official/heatkv_orders_" + model + ".json");
  std::vector<std::vector<LayerHead>> orders(13);
  for (size_t list = 0; list < lists.size(); ++list) {
    for (const auto& pair : lists[list]) orders[3 + list].push_back({pair[1], pair[0]});
  }
  return orders;
}

// Bits of a hexadecimal number, lowest first.
std::vector<uint8_t> mask_bits(const std::string& hex, size_t count) {
  std::vector<uint8_t> bits;
  for (auto digit = hex.rbegin(); digit != hex.rend(); ++digit) {
    const int value = std::stoi(std::string(1, *digit), nullptr, 16);
    for (int bit = 0; bit < 4; ++bit) bits.push_back(static_cast<uint8_t>(value >> bit & 1));
  }
  bits.resize(count);
  return bits;
}

struct Published {
  const char* model;
  int64_t layers;
  int64_t heads;
  const char* percent;
};

class HeatSchedule : public testing::TestWithParam<Published> {
 protected:
  void SetUp() override {
    geometry_ = infinity(GetParam().layers, GetParam().heads);
    expected_ = read_method_data(std::string("official/heatkv_schedule_") + GetParam().model + "_" +
                                 GetParam().percent + "pct.json");
  }

  Geometry geometry_;
  json expected_;
};

TEST_P(HeatSchedule, IsThatOfTheOfficialCode) {
  const int64_t slots = geometry_.layers * geometry_.kv_heads;
  const HeatBudget budget{.tokens = expected_.at("budget").get<double>() *
                                    expected_.at("full_peak_tokens").get<double>(),
                          .sink = expected_.at("sink_scales")};
  const HeatPlan plan = heat_plan(geometry_, published_orders(GetParam().model), budget);
  EXPECT_EQ(plan.counts, expected_.at("pruned_head_count_before_step").get<std::vector<int64_t>>());
  for (int step = 0; step < geometry_.num_scales(); ++step) {
    const json& removed = expected_.at("removed").at(static_cast<size_t>(step));
    for (int source = 0; source < step; ++source) {
      const auto found = removed.find(std::to_string(source));
      const std::vector<uint8_t> want =
          mask_bits(found == removed.end() ? "" : found->at("mask").get<std::string>(),
                    static_cast<size_t>(slots));
      std::vector<uint8_t> got;
      for (int64_t list = 0; list < slots; ++list) {
        const LayerHead at{list / geometry_.kv_heads, list % geometry_.kv_heads};
        got.push_back(plan.removes(step, {source, at}) ? 1 : 0);
      }
      EXPECT_EQ(got, want) << "step " << step << " source " << source;
    }
  }
}

TEST_P(HeatSchedule, ActivatesEarlyWhatTheOfficialCodeDoes) {
  const HeatBudget budget{.tokens = expected_.at("budget").get<double>() *
                                    expected_.at("full_peak_tokens").get<double>(),
                          .sink = expected_.at("sink_scales")};
  const HeatPlan plan = heat_plan(geometry_, published_orders(GetParam().model), budget);
  for (size_t step = 0; step < plan.early.size(); ++step) {
    json got = json::object();
    for (const auto& [layer, atoms] : plan.early[step]) {
      for (const HeatAtom& atom : atoms) {
        got[std::to_string(layer)].push_back({atom.source, atom.at.head, atom.at.layer});
      }
    }
    EXPECT_EQ(got, expected_.at("early_activation").at(step)) << "step " << step;
  }
}

TEST_P(HeatSchedule, HoldsTheTokensThatTheOfficialCodeCounts) {
  Calibration calibration;
  calibration.layers = geometry_.layers;
  calibration.kv_heads = geometry_.kv_heads;
  calibration.scales = geometry_.scales;
  calibration.removal_orders = published_orders(GetParam().model);
  const auto policy = make_policy(
      parse_policy_spec(std::string("heatkv:of=history,cache=") + GetParam().percent + "%"),
      {.geometry = geometry_, .calibration = &calibration});
  const Schedule schedule = policy->schedule(geometry_);
  for (int step = 1; step < geometry_.num_scales(); ++step) {
    int64_t tokens = 0;
    for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
      for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
        tokens += schedule.cached(step - 1, layer, head);
      }
    }
    EXPECT_EQ(tokens, expected_.at("cached_token_slots_at_step").at(static_cast<size_t>(step)));
  }
  // Right after every layer too: one arena over all layers is no larger than the nominal budget.
  EXPECT_LE(static_cast<double>(schedule.most_held()),
            expected_.at("threshold_token_slots").get<double>());
}

INSTANTIATE_TEST_SUITE_P(
    Official, HeatSchedule,
    testing::Values(Published{"2b", 32, 16, "10"}, Published{"2b", 32, 16, "05"},
                    Published{"2b", 32, 16, "01"}, Published{"8b", 40, 28, "10"},
                    Published{"8b", 40, 28, "05"}, Published{"8b", 40, 28, "01"}),
    [](const auto& row) { return std::string(row.param.model) + "_" + row.param.percent; });

// Roles and budgets of a published table, [steps, layers].
struct ScalekvTable {
  std::vector<uint8_t> drafters;
  std::vector<int64_t> budgets;
};

ScalekvTable published_table(const std::string& model, int64_t layers) {
  const json table = read_method_data("official/scalekv_budget_" + model + "_10pct.json");
  ScalekvTable result;
  for (int step = 0; step < 13; ++step) {
    const auto scale = table.find("Scale " + std::to_string(step + 1));
    for (int64_t layer = 0; layer < layers; ++layer) {
      const bool listed = scale != table.end();
      const int role = listed ? scale->at("Block " + std::to_string(layer)).get<int>() : 0;
      result.drafters.push_back(static_cast<uint8_t>(role));
      result.budgets.push_back(listed ? scale->at(role == 1 ? "Max" : "Min").get<int64_t>() : 0);
    }
  }
  return result;
}

constexpr int64_t kPublishedMean = 650;

TEST(ScalekvBudgets, ThePublishedTablesKeepTheirMean) {
  for (const auto& [model, layers] : {std::pair{"2b", 32}, {"8b", 40}}) {
    const ScalekvTable table = published_table(model, layers);
    for (int step = 8; step < 13; ++step) {
      const auto first = table.budgets.begin() + step * layers;
      EXPECT_EQ(std::accumulate(first, first + layers, int64_t{0}), kPublishedMean * layers);
    }
  }
}

TEST(ScalekvBudgets, FollowTheRuleBehindThePublishedTables) {
  const ScalekvBudgets budgets{.uniform = kPublishedMean, .base = kPublishedMean, .window = 16};
  for (const auto& [model, layers, exact] :
       {std::tuple{"2b", 32, 13}, {"8b", 40, 12}}) {  // the last row of 8B is the exception
    const ScalekvTable table = published_table(model, layers);
    const std::vector<int64_t> got = scalekv_budgets(infinity(layers, 1), table.drafters, budgets);
    for (int reader = 8; reader < exact; ++reader) {
      for (int64_t layer = 0; layer < layers; ++layer) {
        EXPECT_EQ(got[static_cast<size_t>((reader - 1) * layers + layer)],
                  table.budgets[static_cast<size_t>(reader * layers + layer)])
            << model << " step " << reader << " layer " << layer;
      }
    }
  }
}

// With a table and no budget of one's own.
TEST(Scalekv, HoldsThePublishedBudgets) {
  const Geometry geometry = infinity(32, 2);
  const ScalekvTable table = published_table("2b", 32);
  Calibration calibration;
  calibration.layers = 32;
  calibration.kv_heads = 2;
  calibration.scales = geometry.scales;
  calibration.layer_budgets = table.budgets;
  calibration.drafters = table.drafters;
  const auto cached = [&](const char* kv, int step, int64_t layer) {
    return make_policy(parse_policy_spec(kv), {.geometry = geometry, .calibration = &calibration})
        ->schedule(geometry)
        .cached(step, layer, 1);
  };
  EXPECT_EQ(cached("scalekv", 6, 5), 521);  // nothing dropped yet
  EXPECT_EQ(cached("scalekv", 7, 0), 920);
  EXPECT_EQ(cached("scalekv", 7, 5), 632);
  EXPECT_EQ(cached("scalekv", 11, 0), 6385);
  EXPECT_EQ(cached("scalekv", 11, 23), 465);
  // A budget of one's own keeps the roles: 32 * 325 tokens, two drafters.
  EXPECT_EQ(cached("scalekv:cache=325tok", 7, 5),
            (32 * 325 - 2 * cached("scalekv:cache=325tok", 7, 0)) / 30);
}

TEST(Scalekv, NeedsAnIndexOrRoles) {
  const Geometry geometry = infinity(2, 2);
  Calibration calibration = flat_calibration(geometry);
  calibration.asi.clear();
  try {
    make_policy(parse_policy_spec("scalekv"), {.geometry = geometry, .calibration = &calibration});
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("nextscale calibrate"));
  }
}

TEST(Heatkv, RefusesSinksThatDoNotFit) {
  const Geometry geometry = infinity(2, 2);
  const Calibration calibration = flat_calibration(geometry);
  const auto make = [&](const char* kv) {
    return make_policy(parse_policy_spec(kv), {.geometry = geometry, .calibration = &calibration});
  };
  EXPECT_NO_THROW(make("heatkv:cache=30tok"));
  EXPECT_NO_THROW(make("heatkv:cache=1tok"));
  EXPECT_THROW(make("heatkv:cache=20tok,sink=3"), Error);
  EXPECT_THROW(make("heatkv:sink=13"), Error);
}

}  // namespace
}  // namespace nextscale
