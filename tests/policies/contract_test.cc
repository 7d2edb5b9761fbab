// SPDX-License-Identifier: Apache-2.0
// What every policy of the registry promises.
#include <gtest/gtest.h>

#include <cctype>

#include "policies/registry.h"

namespace nextscale {
namespace {

const Geometry kGeometry{.layers = 3,
                         .query_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 8,
                         .scales = {{1, 1}, {2, 3}, {4, 4}, {5, 7}}};

class EveryPolicy : public testing::TestWithParam<PolicyRow> {
 protected:
  Schedule schedule() const {
    return GetParam()
        .make({.name = std::string(GetParam().name), .settings = {}})
        ->schedule(kGeometry);
  }

  // Calls check(step, layer, head, attended, cached, candidates).
  template <typename Check>
  void for_each_head(const Schedule& schedule, Check check) const {
    for (int64_t layer = 0; layer < kGeometry.layers; ++layer) {
      for (int64_t head = 0; head < kGeometry.kv_heads; ++head) {
        int64_t cached = 0;
        for (int step = 0; step < kGeometry.num_scales(); ++step) {
          const int64_t candidates = cached + kGeometry.tokens(step);
          cached = schedule.cached(step, layer, head);
          check(step, schedule.attended(step, layer, head), cached, candidates);
        }
      }
    }
  }
};

TEST_P(EveryPolicy, DescribesItself) {
  EXPECT_FALSE(GetParam().summary.empty());
  EXPECT_FALSE(GetParam().citation.empty());
  for (const char letter : GetParam().name) EXPECT_TRUE(std::islower(letter)) << letter;
}

TEST_P(EveryPolicy, AttendsAndKeepsNoMoreThanThereIs) {
  for_each_head(schedule(), [](int, int64_t attended, int64_t cached, int64_t candidates) {
    EXPECT_GE(attended, 1);
    EXPECT_LE(attended, candidates);
    EXPECT_LE(cached, candidates);
  });
}

TEST_P(EveryPolicy, KeepsNothingAfterTheLastStep) {
  for_each_head(schedule(), [](int step, int64_t, int64_t cached, int64_t) {
    if (step + 1 < kGeometry.num_scales()) return;
    EXPECT_EQ(cached, 0);
  });
}

TEST_P(EveryPolicy, IsDeterministic) {
  const Schedule first = schedule();
  const Schedule second = schedule();
  for (int step = 0; step < kGeometry.num_scales(); ++step) {
    for (int64_t layer = 0; layer < kGeometry.layers; ++layer) {
      for (int64_t head = 0; head < kGeometry.kv_heads; ++head) {
        EXPECT_EQ(first.attended(step, layer, head), second.attended(step, layer, head));
        EXPECT_EQ(first.cached(step, layer, head), second.cached(step, layer, head));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryPolicy,
                         testing::ValuesIn(policy_table().begin(), policy_table().end()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Full, AttendsEveryEarlierTokenAndItsOwn) {
  const Schedule schedule = make_policy({.name = "full", .settings = {}})->schedule(kGeometry);
  EXPECT_EQ(schedule.attended(0, 0, 0), 1);
  EXPECT_EQ(schedule.attended(3, 2, 1), 1 + 6 + 16 + 35);
  EXPECT_EQ(schedule.cached(2, 1, 0), 1 + 6 + 16);
}

}  // namespace
}  // namespace nextscale
