// SPDX-License-Identifier: Apache-2.0
// What every policy of the registry promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <numeric>

#include "policies/budget.h"
#include "policies/queries.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

const Geometry kGeometry{.layers = 3,
                         .query_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 8,
                         .scales = {{1, 1}, {2, 3}, {4, 4}, {5, 7}}};

// Made up, and different for every head and layer.
const Calibration& made_up_calibration() {
  static const Calibration calibration = [] {
    Calibration result = flat_calibration(kGeometry);
    for (size_t at = 0; at < result.mass.size(); ++at) {
      result.mass[at] *= 1.0 + static_cast<double>(at * 7 % 13) / 13;
    }
    for (size_t at = 0; at < result.sigma.size(); ++at) {
      result.sigma[at] = static_cast<double>(at * 5 % 7);
    }
    for (size_t at = 0; at < result.asi.size(); ++at) {
      result.asi[at] = static_cast<double>(at * 3 % 5) / 5;
    }
    return result;
  }();
  return calibration;
}

std::unique_ptr<Policy> make_policy(const std::string& kv) {
  return nextscale::make_policy(parse_policy_spec(kv),
                                {.geometry = kGeometry, .calibration = &made_up_calibration()});
}

class EveryPolicy : public testing::TestWithParam<PolicyRow> {
 protected:
  std::unique_ptr<Policy> make(const std::string& settings = "") const {
    return make_policy(std::string(GetParam().name) + settings);
  }
  Schedule schedule() const { return make()->schedule(kGeometry); }

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
  for (const char letter : GetParam().name) {
    EXPECT_TRUE(std::islower(letter) || std::isdigit(letter)) << letter;
  }
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

// One head's statistics with invented attention.
class InventedHead {
 public:
  InventedHead(const Needs& needs, int step, int64_t candidates)
      : sums_(invented(candidates, 7)),
        variances_(invented(candidates, 5)),
        entropies_(invented(candidates, 3)),
        positions_(static_cast<size_t>(3 * candidates)),
        scores_(static_cast<size_t>(2 * candidates)) {
    statistics = {.step = step,
                  .num_steps = kGeometry.num_scales(),
                  .num_candidates = candidates,
                  .num_current = kGeometry.tokens(step),
                  .num_queries = num_observed(needs, kGeometry.scales[static_cast<size_t>(step)]),
                  .num_attend = 0,
                  .num_keep = 0,
                  .column_sums = sums_,
                  .column_variances = variances_,
                  .column_entropies = entropies_,
                  .accumulated = sums_};
    const auto room = static_cast<size_t>(candidates);
    const std::span<int32_t> positions = positions_;
    const std::span<float> scores = scores_;
    selection = {.attend = positions.first(room),
                 .keep = positions.subspan(room, room),
                 .score = scores.first(room),
                 .pooled = scores.subspan(room),
                 .order = positions.subspan(2 * room)};
  }

  std::vector<int32_t> attended() const {
    return {selection.attend.begin(), selection.attend.begin() + selection.num_attend};
  }
  std::vector<int32_t> kept() const {
    return {selection.keep.begin(), selection.keep.begin() + selection.num_keep};
  }

  HeadStatistics statistics;
  Selection selection;

 private:
  // Positive and with ties.
  static std::vector<float> invented(int64_t candidates, int64_t factor) {
    std::vector<float> result;
    for (int64_t at = 0; at < candidates; ++at) {
      result.push_back(static_cast<float>(at * factor % 11 + 1) / 16);
    }
    return result;
  }

  std::vector<float> sums_;
  std::vector<float> variances_;
  std::vector<float> entropies_;
  std::vector<int32_t> positions_;
  std::vector<float> scores_;
};

// Calls check(head) for selections of every step and every wanted length that a policy may see.
template <typename Check>
void for_each_selection(const Policy& policy, Check check) {
  for (int step = 1; step < kGeometry.num_scales(); ++step) {
    const int64_t candidates = kGeometry.tokens(step) + 5;
    for (int64_t wanted = 1; wanted < candidates; ++wanted) {
      InventedHead head(policy.needs(), step, candidates);
      head.statistics.num_attend = wanted;
      head.statistics.num_keep = step + 1 == kGeometry.num_scales() ? 0 : wanted;
      policy.select(head.statistics, head.selection);
      check(head);
    }
  }
}

void expect_ascending(const std::vector<int32_t>& positions, int64_t candidates) {
  EXPECT_TRUE(std::ranges::is_sorted(positions));
  EXPECT_EQ(std::ranges::adjacent_find(positions), positions.end());
  for (const int32_t position : positions) {
    EXPECT_GE(position, 0);
    EXPECT_LT(position, candidates);
  }
}

TEST_P(EveryPolicy, SelectsAscendingPositionsWithinItsBudget) {
  const auto policy = make();
  if (!policy->needs().selects) return;
  for_each_selection(*policy, [](const InventedHead& head) {
    EXPECT_EQ(head.selection.num_attend, head.statistics.num_attend);
    EXPECT_EQ(head.selection.num_keep, head.statistics.num_keep);
    expect_ascending(head.attended(), head.statistics.num_candidates);
    expect_ascending(head.kept(), head.statistics.num_candidates);
  });
}

TEST_P(EveryPolicy, SelectsTheSameFromTheSame) {
  const auto policy = make();
  if (!policy->needs().selects) return;
  for_each_selection(*policy, [&](const InventedHead& head) {
    InventedHead again(policy->needs(), head.statistics.step, head.statistics.num_candidates);
    again.statistics.num_attend = head.statistics.num_attend;
    again.statistics.num_keep = head.statistics.num_keep;
    policy->select(again.statistics, again.selection);
    EXPECT_EQ(head.attended(), again.attended());
    EXPECT_EQ(head.kept(), again.kept());
  });
}

TEST_P(EveryPolicy, KeepsEverythingWithAWholeBudget) {
  if (GetParam().name == "full") return;
  const auto policy = make(":budget=100%");
  const Schedule schedule = policy->schedule(kGeometry);
  for_each_head(schedule, [](int step, int64_t attended, int64_t cached, int64_t candidates) {
    EXPECT_EQ(attended, candidates);
    const bool is_last = step + 1 == kGeometry.num_scales();
    EXPECT_EQ(cached, is_last ? 0 : candidates);
  });
}

// Layers may have unequal shares, but not more than there is to share.
TEST_P(EveryPolicy, LayersShareNoMoreThanTheirBudget) {
  const auto policy = make();
  if (!policy->needs().layer_budgets) return;
  const std::vector<int64_t> candidates{30, 45, 50};
  const std::vector<LayerStatistics> previous{{2.0, 0.5}, {1.0, 3.0}, {0.5, 0.25}};
  constexpr int64_t kSequence = 58;
  const int64_t budget = kDefaultBudget.of(kSequence);
  for (const auto& statistics : {previous, std::vector<LayerStatistics>{}}) {
    const std::vector<int64_t> budgets =
        policy->layer_budgets(statistics, candidates, kGeometry.tokens(2), kSequence);
    ASSERT_EQ(budgets.size(), candidates.size());
    EXPECT_LE(std::accumulate(budgets.begin(), budgets.end(), int64_t{0}), 3 * budget);
    EXPECT_GE(*std::ranges::min_element(budgets), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryPolicy,
                         testing::ValuesIn(policy_table().begin(), policy_table().end()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Full, AttendsEveryEarlierTokenAndItsOwn) {
  const Schedule schedule = make_policy("full")->schedule(kGeometry);
  EXPECT_EQ(schedule.attended(0, 0, 0), 1);
  EXPECT_EQ(schedule.attended(3, 2, 1), 1 + 6 + 16 + 35);
  EXPECT_EQ(schedule.cached(2, 1, 0), 1 + 6 + 16);
}

TEST(Streaming, KeepsTheFirstAndTheLast) {
  const auto policy = make_policy("streaming:sink=2");
  for_each_selection(*policy, [](const InventedHead& head) {
    const std::vector<int32_t> attended = head.attended();
    EXPECT_EQ(attended.front(), 0);
    if (attended.size() < 3) return;
    EXPECT_EQ(attended[1], 1);
    EXPECT_EQ(attended.back(), head.statistics.num_candidates - 1);
  });
}

TEST(Windows, AreKept) {
  for (const char* name : {"snapkv", "cake"}) {
    const auto policy = make_policy(name + std::string(":window=3"));
    for_each_selection(*policy, [](const InventedHead& head) {
      const std::vector<int32_t> attended = head.attended();
      const int64_t window = std::min<int64_t>(3, static_cast<int64_t>(attended.size()));
      EXPECT_EQ(attended[attended.size() - window], head.statistics.num_candidates - window);
    });
  }
}

}  // namespace
}  // namespace nextscale
