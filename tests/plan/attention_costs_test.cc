// SPDX-License-Identifier: Apache-2.0
#include "plan/attention_costs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/planned_policy.h"

namespace nextscale {
namespace {

// Four query heads on two kv heads.
const Geometry kGrouped{.layers = 3,
                        .query_heads = 4,
                        .kv_heads = 2,
                        .head_dim = 8,
                        .scales = {{1, 1}, {2, 3}, {4, 5}}};

std::vector<StepCost> costs(const std::string& kv, const Geometry& geometry) {
  const PlannedPolicy planned = make_planned_policy(parse_policy_spec(kv), {.geometry = geometry});
  return step_costs({.geometry = geometry, .policy = *planned.policy, .sequences = 2});
}

TEST(AttentionCosts, FullCacheIsTheClosedForm) {
  // sum N_k T_k = 1 + 6 * 7 + 20 * 27, two products, two operations each.
  const double flops = 4.0 * 583 * (4 * 8) * 3 * 2;
  EXPECT_DOUBLE_EQ(total_attention_flops(costs("full", kGrouped)), flops);
}

TEST(AttentionCosts, ProjectionsOfGroupedHeadsAreSmallerForKeysAndValues) {
  // 27 tokens; queries and output 32 x 32, keys and values 32 x 16.
  const double flops = 2.0 * 27 * (2 * 32 * 32 + 2 * 32 * 16) * 3 * 2;
  EXPECT_DOUBLE_EQ(total_projection_flops(costs("full", kGrouped)), flops);
}

TEST(AttentionCosts, WhatNobodyChoosesIsNotScored) {
  EXPECT_EQ(total_scoring_flops(costs("full", kGrouped)), 0);
  EXPECT_EQ(total_scoring_flops(costs("snapkv:budget=100%", kGrouped)), 0);
  EXPECT_EQ(total_scoring_flops(costs("streaming:budget=10tok", kGrouped)), 0);
}

TEST(AttentionCosts, ScoringIsTheObservedQueriesOfTheStepsThatChoose) {
  // 10 cached of 7 + 20: only the last step chooses, 20 queries (fewer than the window of 32) of
  // each of 4 heads see 27 candidates.
  const double flops = 2.0 * 20 * 27 * (4 * 8) * 3 * 2;
  EXPECT_DOUBLE_EQ(total_scoring_flops(costs("snapkv:budget=10tok", kGrouped)), flops);
}

TEST(AttentionCosts, LayersThatShareABudgetAreCountedAlike) {
  const std::vector<StepCost> shared = costs("cake:budget=10tok,window=2", kGrouped);
  EXPECT_EQ(shared[2].attended, 10);
  EXPECT_DOUBLE_EQ(total_attention_flops(shared),
                   total_attention_flops(costs("streaming:budget=10tok", kGrouped)));
}

TEST(AttentionCosts, AttendedPromptIsSeenByEveryQuery) {
  const PlannedPolicy planned =
      make_planned_policy({.name = "full", .settings = {}}, {.geometry = kGrouped});
  const auto steps = step_costs(
      {.geometry = kGrouped, .policy = *planned.policy, .sequences = 2, .attended_prompt = 5});
  const double more = 4.0 * 27 * 5 * (4 * 8) * 3 * 2;
  EXPECT_DOUBLE_EQ(total_attention_flops(steps) - total_attention_flops(costs("full", kGrouped)),
                   more);
}

}  // namespace
}  // namespace nextscale
