// SPDX-License-Identifier: Apache-2.0
// The budgets of HACK, and the static plan of HACK++ on true shapes
// (tests/data/methods/unit_cases.json).
#include <gtest/gtest.h>

#include "policies/hack.h"
#include "policies/hackpp.h"
#include "policies/method_data.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

using nlohmann::json;

struct PlanCase {
  Geometry geometry;
  std::vector<int64_t> sizes;
  std::vector<double> reliance;
  HackppSettings settings;
};

PlanCase plan_case(const json& unit) {
  const int64_t heads = unit.at("H");
  PlanCase result;
  for (const int64_t contextual : unit.at("contextual_count").get<std::vector<int64_t>>()) {
    result.sizes.push_back(contextual);
    result.sizes.push_back(heads - contextual);
  }
  result.geometry.layers = static_cast<int64_t>(result.sizes.size()) / kHeadClasses;
  result.geometry.kv_heads = heads;
  for (const auto& size : unit.at("sizes")) result.geometry.scales.push_back({size[0], size[1]});
  for (const auto& layer : unit.at("gbar")) {
    for (const auto& type : layer) {
      for (const double value : type) result.reliance.push_back(value);
    }
  }
  result.settings.attention = {.share = 0, .tokens = unit.at("b_a")};
  result.settings.cache = {.share = 0, .tokens = unit.at("b_c")};
  result.settings.tau = unit.at("tau");
  return result;
}

// [steps][layers][classes], one after the other.
std::vector<int64_t> flat(const json& lengths) {
  std::vector<int64_t> result;
  for (const auto& step : lengths) {
    for (const auto& layer : step) {
      for (const int64_t length : layer) result.push_back(length);
    }
  }
  return result;
}

TEST(HackBudgets, GiveTheReferenceSplit) {
  for (const json& unit : unit_cases("hack_budgets")) {
    int64_t contextual = 0;
    int64_t heads = 0;
    for (const auto& layer : unit.at("contextual")) {
      for (const int64_t is_contextual : layer) {
        contextual += is_contextual;
        ++heads;
      }
    }
    const HackBudgets budgets =
        hack_budgets(contextual, heads - contextual, unit.at("b"), unit.at("beta"));
    EXPECT_EQ(budgets.contextual, unit.at("b_c").get<int64_t>()) << unit;
    EXPECT_EQ(budgets.structural, unit.at("b_s").get<int64_t>()) << unit;
  }
}

TEST(HackppPlan, GivesTheReferenceLengths) {
  for (const json& unit : unit_cases("hackpp_plan")) {
    const PlanCase one = plan_case(unit);
    const HackppPlan plan = hackpp_plan(one.geometry, one.sizes, one.reliance, one.settings);
    EXPECT_EQ(plan.attended, flat(unit.at("attended"))) << unit.at("name");
    EXPECT_EQ(plan.cached, flat(unit.at("cached"))) << unit.at("name");
  }
}

TEST(HackppPlan, NeverCachesMoreSlotsThanItsBudget) {
  for (const json& unit : unit_cases("hackpp_plan")) {
    const PlanCase one = plan_case(unit);
    const HackppPlan plan = hackpp_plan(one.geometry, one.sizes, one.reliance, one.settings);
    const int64_t slots = one.geometry.layers * one.geometry.kv_heads * one.settings.cache.tokens;
    for (size_t first = 0; first < plan.cached.size(); first += one.sizes.size()) {
      int64_t used = 0;
      for (size_t group = 0; group < one.sizes.size(); ++group) {
        used += one.sizes[group] * plan.cached[first + group];
      }
      EXPECT_LE(used, slots) << unit.at("name");
    }
  }
}

// Two layers with three heads each.
const Geometry kGeometry{.layers = 2,
                         .query_heads = 3,
                         .kv_heads = 3,
                         .head_dim = 8,
                         .scales = {{1, 1}, {2, 2}, {3, 3}}};

TEST(HeadClasses, AreThoseOfSmallestVarianceOverTheWholeModel) {
  Calibration calibration = flat_calibration(kGeometry);
  calibration.sigma = {0.5, 0.1, 0.9, 0.1, 0.4, 0.1};
  const auto contextual = [&](double alpha) {
    std::vector<int> result;
    for (const HeadClass type : head_classes(calibration, alpha)) {
      result.push_back(type == HeadClass::kContextual ? 1 : 0);
    }
    return result;
  };
  EXPECT_EQ(contextual(0.0), (std::vector<int>{0, 0, 0, 0, 0, 0}));
  // floor(0.34 * 6 + 0.5) = 2; equal variances: the lower layer first.
  EXPECT_EQ(contextual(0.34), (std::vector<int>{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(contextual(1.0), (std::vector<int>{1, 1, 1, 1, 1, 1}));
}

TEST(HistoryReliance, AddsTheMeanAttentionThatLaterStepsGiveToOneToken) {
  const Calibration calibration = flat_calibration(kGeometry);
  const std::vector<double> gamma = history_reliance(calibration);
  // Uniform attention: step 1 gives its one earlier token 1/5, step 2 gives its five 1/14 each.
  EXPECT_NEAR(gamma[0], 1.0 / 5 + 1.0 / 14, 1e-12);
  EXPECT_NEAR(gamma[1], 1.0 / 14, 1e-12);
  EXPECT_EQ(gamma[2], 0.0);
}

// One step in which three groups share 30 slots of 100 candidates.
std::vector<int64_t> shares(const ReliesOn& axes, double tau) {
  const Geometry geometry{
      .layers = 2, .query_heads = 2, .kv_heads = 2, .head_dim = 8, .scales = {{10, 10}, {1, 1}}};
  const std::vector<int64_t> sizes{1, 1, 2, 0};
  const std::vector<double> reliance{0.1, 0, 0.5, 0, 0.2, 0, 0, 0};
  HackppSettings settings;
  settings.cache = {.share = 0, .tokens = 20};
  settings.tau = tau;
  settings.axes = axes;
  const HackppPlan plan = hackpp_plan(geometry, sizes, reliance, settings);
  return {plan.cached.begin(), plan.cached.begin() + 4};
}

TEST(HackppPlan, AxesThatAreOffGetTheMeanOfTheirWeights) {
  EXPECT_EQ(shares({}, 1.0), (std::vector<int64_t>{8, 40, 16, 0}));
  EXPECT_EQ(shares({}, 0.0), (std::vector<int64_t>{20, 20, 20, 0}));
  EXPECT_EQ(shares({.step = false, .layer = false, .type = false}, 1.0),
            (std::vector<int64_t>{20, 20, 20, 0}));
  // Types of a layer alike: 0.3 and 0.2.
  EXPECT_EQ(shares({.type = false}, 1.0), (std::vector<int64_t>{24, 24, 16, 0}));
  // Layers alike: contextual (0.1 + 2 * 0.2) / 3, structural 0.5.
  EXPECT_EQ(shares({.layer = false}, 1.0), (std::vector<int64_t>{14, 40, 13, 0}));
}

TEST(HackppPlan, WithoutTheStepAxisTheLastStepDoesNotCount) {
  const Geometry geometry{.layers = 1,
                          .query_heads = 2,
                          .kv_heads = 2,
                          .head_dim = 8,
                          .scales = {{4, 4}, {4, 4}, {1, 1}}};
  HackppSettings settings;
  settings.cache = {.share = 0, .tokens = 10};
  settings.axes.step = false;
  const HackppPlan plan = hackpp_plan(geometry, std::vector<int64_t>{1, 1},
                                      std::vector<double>{0.1, 0.3, 0.0, 0.3, 0.3, 0.0}, settings);
  EXPECT_EQ(plan.cached, (std::vector<int64_t>{8, 12, 8, 12, 0, 0}));
}

// The score that a head compares, from invented statistics.
std::vector<float> scores(const char* kv, double sigma) {
  Calibration calibration = flat_calibration(kGeometry);
  calibration.sigma.assign(6, 1.0);
  calibration.sigma[0] = sigma;
  const auto policy =
      make_policy(parse_policy_spec(kv), {.geometry = kGeometry, .calibration = &calibration});
  const std::vector<float> sums{1, 2, 3, 4, 5};
  const std::vector<float> norms{2, 1, 1, 1, 1};
  const std::vector<uint8_t> ids{0, 1, 1, 1, 1};
  std::vector<int32_t> positions(15);
  std::vector<float> values(10);
  const std::span<int32_t> room = positions;
  Selection selection{.attend = room.first(5),
                      .keep = room.subspan(5, 5),
                      .score = std::span(values).first(5),
                      .pooled = std::span(values).subspan(5),
                      .order = room.subspan(10)};
  policy->select({.step = 1,
                  .num_steps = 3,
                  .num_candidates = 5,
                  .num_current = 4,
                  .num_queries = 1,
                  .num_attend = 2,
                  .num_keep = 2,
                  .scale_ids = ids,
                  .value_norms = norms,
                  .column_sums = sums},
                 selection);
  return {selection.score.begin(), selection.score.end()};
}

TEST(Hackpp, ScoresHeadsByTheirClassOrAsAnAblationSays) {
  const std::vector<float> contextual{1, 2, 3, 4, 5};
  const std::vector<float> structural{0.4F, 0.2F, 0.2F, 0.2F, 0.2F};
  constexpr double kContextual = 0.5;  // the smallest variance of all
  constexpr double kStructural = 1.5;
  EXPECT_EQ(scores("hackpp:kernel=1", kContextual), contextual);
  EXPECT_EQ(scores("hackpp:kernel=1", kStructural), structural);
  EXPECT_EQ(scores("hackpp:kernel=1,score=swapped", kContextual), structural);
  EXPECT_EQ(scores("hackpp:kernel=1,score=swapped", kStructural), contextual);
  EXPECT_EQ(scores("hackpp:kernel=1,score=contextual", kStructural), contextual);
  EXPECT_EQ(scores("hackpp:kernel=1,score=structural", kContextual), structural);
  EXPECT_EQ(scores("hackpp:structural=norm", kStructural), (std::vector<float>{2, 1, 1, 1, 1}));
  EXPECT_EQ(scores("hackpp:structural=prior", kStructural),
            (std::vector<float>{0.2F, 0.2F, 0.2F, 0.2F, 0.2F}));
}

TEST(Hackpp, SamplesTheQueriesThatItIsTold) {
  const Calibration calibration = flat_calibration(kGeometry);
  const auto sampled = [&](const char* kv) {
    return make_policy(parse_policy_spec(kv), {.geometry = kGeometry, .calibration = &calibration})
        ->needs()
        .queries;
  };
  EXPECT_EQ(sampled("hackpp"), ObservedQueries::kUniform);
  EXPECT_EQ(sampled("hackpp:sampling=initial"), ObservedQueries::kFirst);
  EXPECT_EQ(sampled("hackpp:sampling=last"), ObservedQueries::kLast);
}

}  // namespace
}  // namespace nextscale
