// SPDX-License-Identifier: Apache-2.0
// The shared pieces of policies, against tests/data/methods/unit_cases.json and their refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "nextscale/error.h"
#include "policies/budget.h"
#include "policies/cake.h"
#include "policies/method_data.h"
#include "policies/protection.h"
#include "policies/queries.h"
#include "policies/selection.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

using nlohmann::json;

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

// Against a plain sort, with ties, both zeros, infinities and negative scores.
TEST(Top, AgreesWithASort) {
  std::vector<float> score;
  for (int32_t at = 0; at < 700; ++at) {
    score.push_back(static_cast<float>(at * 7919 % 613 % 97 - 40) / 8.0F);
  }
  score[3] = score[650] = std::numeric_limits<float>::infinity();
  score[5] = score[600] = -std::numeric_limits<float>::infinity();
  for (size_t at = 10; at < 300; at += 3) score[at] = at % 2 == 0 ? 0.0F : -0.0F;
  std::vector<int32_t> sorted(score.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  std::ranges::stable_sort(sorted, [&](int32_t left, int32_t right) {
    return score[static_cast<size_t>(left)] > score[static_cast<size_t>(right)];
  });
  std::vector<int32_t> order(score.size());
  for (int64_t n = 0; n <= static_cast<int64_t>(score.size()); ++n) {
    std::vector<int32_t> want(sorted.begin(), sorted.begin() + n);
    std::ranges::sort(want);
    std::vector<int32_t> got(static_cast<size_t>(n));
    top(score, n, order, got);
    ASSERT_EQ(got, want) << n;
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

TEST(CakeOfficialBudgets, GiveTheReferenceBudgets) {
  for (const json& unit : unit_cases("cake_one_shot")) {
    const std::vector<double> preferences = unit["preference"];
    EXPECT_EQ(cake_official_budgets(preferences, unit["total"], unit["cap"]),
              unit["budgets"].get<std::vector<int64_t>>())
        << unit;
  }
}

TEST(BudgetSetting, ReadsSharesTokensAndBytes) {
  const PolicyContext context{.token_bytes = 3000};
  const auto read = [&](const char* text) {
    return budget_setting(parse_policy_spec(text), "budget", context).of(1000);
  };
  EXPECT_EQ(read("x:budget=3000B"), 1);
  EXPECT_EQ(read("x:budget=1MiB"), (1 << 20) / 3000);
  EXPECT_EQ(read("x:budget=0.9MB"), 300);
  EXPECT_EQ(read("x:budget=30%"), 300);
  EXPECT_EQ(read("x:budget=0.05%"), 1);
  EXPECT_EQ(read("x:budget=100%"), 1000);
  EXPECT_EQ(read("x:budget=2048tok"), 2048);
  EXPECT_EQ(read("x"), 300);
}

TEST(BudgetSetting, RefusesWhatIsNoBudget) {
  for (const char* text :
       {"0%", "-3%", "101%", "nan%", "%", "30", "30 %", "0tok", "1.5tok", "tok", "2999B", "0MiB",
        "-1MiB", "MiB", "nanB", "1e99GiB", "1KB", "3x%", "99999999999999999999tok"}) {
    const PolicySpec spec{.name = "x", .settings = {{"budget", text}}};
    EXPECT_THROW(budget_setting(spec, "budget", {.token_bytes = 3000}), Error) << text;
  }
}

TEST(BudgetSetting, RefusesBytesWhereATokenHasNone) {
  EXPECT_THROW(budget_setting(parse_policy_spec("x:budget=512MiB"), "budget", {}), Error);
}

TEST(CacheBudgetSetting, HasTwoWordsOfWhichOneIsGiven) {
  const auto read = [](const char* text) {
    return cache_budget_setting(parse_policy_spec(text), {}, kDefaultBudget).of(1000);
  };
  EXPECT_EQ(read("x"), 300);
  EXPECT_EQ(read("x:cache=10%"), 100);
  EXPECT_EQ(read("x:budget=10%"), 100);
  EXPECT_THROW(read("x:budget=10%,cache=10%"), Error);
}

TEST(ProtectSetting, NamesScalesOfTheModel) {
  const PolicyContext context{.geometry = {.scales = {{1, 1}, {2, 2}, {3, 3}}}};
  const auto read = [&](const char* text) {
    return protect_setting(parse_policy_spec(text), context);
  };
  EXPECT_FALSE(read("x").any());
  EXPECT_TRUE(read("x:protect=0+2").covers(0));
  EXPECT_FALSE(read("x:protect=0+2").covers(1));
  EXPECT_TRUE(read("x:protect=0+2").covers(2));
  for (const char* text : {"x:protect=3", "x:protect=-1", "x:protect=0+", "x:protect=all"}) {
    EXPECT_THROW(read(text), Error) << text;
  }
}

TEST(Settings, NameTheNearestValidChoice) {
  const auto refusal = [](const PolicySpec& spec, auto read) -> std::string {
    try {
      read(spec);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  using testing::HasSubstr;
  EXPECT_THAT(refusal(parse_policy_spec("x:alpha=1.5"),
                      [](const auto& spec) { number_setting(spec, "alpha", 0.2, 0, 1); }),
              HasSubstr("alpha=1"));
  EXPECT_THAT(refusal(parse_policy_spec("x:pool=mx"),
                      [](const auto& spec) {
                        word_setting(spec, "pool", {"avg", "max"}, 0);
                      }),
              HasSubstr("did you mean max"));
  EXPECT_THAT(refusal(parse_policy_spec("x:budget=120%"),
                      [](const auto& spec) { budget_setting(spec, "budget", {}); }),
              HasSubstr("budget=100%"));
  EXPECT_THAT(refusal(parse_policy_spec("x:taus=1"),
                      [](const auto& spec) { require_known_settings(spec, {"tau"}); }),
              HasSubstr("did you mean tau"));
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
