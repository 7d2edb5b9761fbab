// SPDX-License-Identifier: Apache-2.0
// The budgets of HACK, and the static plan of HACK++ on true shapes
// (tests/data/methods/unit_cases.json).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "policies/hack.h"
#include "policies/hackpp.h"

namespace nextscale {
namespace {

using nlohmann::json;

std::vector<json> unit_cases(const char* name) {
  std::ifstream file(std::string(NEXTSCALE_TEST_DATA) + "/methods/unit_cases.json");
  return json::parse(file).at(name).get<std::vector<json>>();
}

struct PlanCase {
  Geometry geometry;
  std::vector<int64_t> sizes;
  std::vector<float> reliance;
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
      for (const double value : type) result.reliance.push_back(static_cast<float>(value));
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

}  // namespace
}  // namespace nextscale
