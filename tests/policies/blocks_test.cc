// SPDX-License-Identifier: Apache-2.0
// The shared pieces of policies, against tests/data/methods/unit_cases.json and their refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nextscale/error.h"
#include "policies/budget.h"
#include "policies/queries.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

using nlohmann::json;

// Never empty: a file without cases of that name is a failure.
std::vector<json> unit_cases(const char* name) {
  std::ifstream file(std::string(NEXTSCALE_TEST_DATA) + "/methods/unit_cases.json");
  return json::parse(file).at(name).get<std::vector<json>>();
}

std::vector<int64_t> allocate_case(const json& unit) {
  std::vector<BudgetGroup> groups;
  for (size_t group = 0; group < unit["weights"].size(); ++group) {
    groups.push_back({.weight = unit["weights"][group],
                      .heads = unit["counts"][group],
                      .capacity = unit["caps"][group]});
  }
  return allocate(groups, unit["total"], unit["floor"]);
}

TEST(Allocate, GivesTheReferenceBudgets) {
  for (const json& unit : unit_cases("allocate")) {
    EXPECT_EQ(allocate_case(unit), unit["budgets"].get<std::vector<int64_t>>()) << unit;
  }
}

TEST(Allocate, ScalingAllWeightsChangesNothing) {
  for (json unit : unit_cases("allocate")) {
    const std::vector<int64_t> before = allocate_case(unit);
    for (json& weight : unit["weights"]) weight = 8.0 * weight.get<double>();
    EXPECT_EQ(allocate_case(unit), before) << unit;
  }
}

TEST(UniformQueries, AreSpreadOverTheScale) {
  for (const json& unit : unit_cases("uniform_queries")) {
    const Needs needs{.queries = ObservedQueries::kUniform, .num_queries = unit["n_obs"]};
    const Grid map{1, unit["n"]};
    std::vector<int64_t> rows;
    for (int64_t index = 0; index < num_observed(needs, map); ++index) {
      rows.push_back(observed_query(needs, map, index));
    }
    EXPECT_EQ(rows, unit["rows"].get<std::vector<int64_t>>()) << unit;
  }
}

TEST(ObservedQueries, FirstLastAndAll) {
  const Needs first{.queries = ObservedQueries::kFirst, .num_queries = 3};
  EXPECT_EQ(num_observed(first, {1, 5}), 3);
  EXPECT_EQ(observed_query(first, {1, 5}, 2), 2);
  const Needs last{.queries = ObservedQueries::kLast, .num_queries = 3};
  EXPECT_EQ(num_observed(last, {1, 5}), 3);
  EXPECT_EQ(observed_query(last, {1, 5}, 0), 2);
  EXPECT_EQ(num_observed(last, {1, 2}), 2);
  const Needs all{.queries = ObservedQueries::kAll};
  EXPECT_EQ(num_observed(all, {1, 5}), 5);
  EXPECT_EQ(observed_query(all, {1, 5}, 4), 4);
}

TEST(ObservedQueries, ASquareMapIsSeenThroughTheMiddlesOfItsPatches) {
  const Needs grid{.queries = ObservedQueries::kGrid, .num_queries = 4};
  ASSERT_EQ(num_observed(grid, {6, 6}), 4);
  EXPECT_EQ(observed_query(grid, {6, 6}, 0), 1 * 6 + 1);
  EXPECT_EQ(observed_query(grid, {6, 6}, 3), 4 * 6 + 4);
  // No square of patches fits: the end of the scale.
  for (const Grid& map : {Grid{2, 5}, Grid{1, 1}}) {
    const int64_t count = std::min<int64_t>(4, map.tokens());
    ASSERT_EQ(num_observed(grid, map), count);
    EXPECT_EQ(observed_query(grid, map, 0), map.tokens() - count);
  }
}

TEST(Top, BreaksTiesByPosition) {
  for (const json& unit : unit_cases("top")) {
    const std::vector<float> score = unit["score"];
    const int64_t n =
        std::min<int64_t>(unit["n"].get<int64_t>(), static_cast<int64_t>(score.size()));
    std::vector<int32_t> order(score.size());
    std::vector<int32_t> kept(static_cast<size_t>(n));
    top(score, n, order, kept);
    EXPECT_EQ(kept, unit["keep"].get<std::vector<int32_t>>()) << unit;
  }
}

TEST(Pool, GivesTheReferenceValues) {
  for (const json& unit : unit_cases("pool")) {
    const std::vector<float> x = unit["x"];
    const std::vector<float> want = unit["y"];
    std::vector<float> got(x.size());
    pool1d(x, unit["kernel"], unit["mode"] == "max" ? Pool::kMax : Pool::kAverage, got);
    for (size_t at = 0; at < x.size(); ++at) EXPECT_NEAR(got[at], want[at], 1e-6) << unit;
  }
}

TEST(CeilBudget, GivesTheReferenceBudgets) {
  for (const json& unit : unit_cases("ceil_budget")) {
    EXPECT_EQ(ceil_budget(unit["ratio"], unit["total"]), unit["budget"].get<int64_t>()) << unit;
  }
}

TEST(BudgetSetting, ReadsSharesAndTokens) {
  const auto read = [](const char* text) {
    return budget_setting(parse_policy_spec(text), "budget").of(1000);
  };
  EXPECT_EQ(read("x:budget=30%"), 300);
  EXPECT_EQ(read("x:budget=0.05%"), 1);
  EXPECT_EQ(read("x:budget=100%"), 1000);
  EXPECT_EQ(read("x:budget=2048tok"), 2048);
  EXPECT_EQ(read("x"), 300);
}

TEST(BudgetSetting, RefusesWhatIsNoBudget) {
  for (const char* text : {"0%", "-3%", "101%", "nan%", "%", "30", "30 %", "0tok", "1.5tok", "tok",
                           "512MiB", "3x%", "99999999999999999999tok"}) {
    const PolicySpec spec{.name = "x", .settings = {{"budget", text}}};
    EXPECT_THROW(budget_setting(spec, "budget"), Error) << text;
  }
}

TEST(Settings, RefuseWhatIsOutOfRange) {
  const PolicySpec spec{.name = "x",
                        .settings = {{"window", "0"}, {"kernel", "4"}, {"pool", "min"}}};
  EXPECT_THROW(count_setting(spec, "window", 32, 1), Error);
  EXPECT_THROW(kernel_setting(spec, "kernel", 5), Error);
  EXPECT_THROW(word_setting(spec, "pool", {"avg", "max"}, 0), Error);
  EXPECT_THROW(number_setting(spec, "window", 1, 0.5, 2), Error);
  EXPECT_EQ(count_setting(spec, "sink", 4, 0), 4);
}

}  // namespace
}  // namespace nextscale
