// SPDX-License-Identifier: Apache-2.0
#include "cache/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace nextscale {
namespace {

constexpr int64_t kHeadDim = 4;

CacheShape shape_of(int64_t layers, int64_t rows, int64_t kv_heads) {
  return {.layers = layers, .rows = rows, .kv_heads = kv_heads, .head_dim = kHeadDim};
}

// lengths[step][layer], the same for all heads.
Schedule schedule_of(const std::vector<std::vector<int64_t>>& lengths, int64_t kv_heads) {
  const auto steps = static_cast<int>(lengths.size());
  const auto layers = static_cast<int64_t>(lengths.front().size());
  Schedule schedule(steps, layers, kv_heads);
  for (int step = 0; step < steps; ++step) {
    for (int64_t layer = 0; layer < layers; ++layer) {
      for (int64_t head = 0; head < kv_heads; ++head) {
        schedule.cached(step, layer, head) =
            lengths[static_cast<size_t>(step)][static_cast<size_t>(layer)];
      }
    }
  }
  return schedule;
}

int64_t planned_places(const CacheShape& shape, const Schedule& schedule) {
  const KvCache cache(shape, schedule);
  EXPECT_EQ(cache.allocated().total(), KvCache::planned_bytes(shape, schedule).total());
  EXPECT_EQ(cache.allocated().keys_values,
            2 * Arena::rounded(static_cast<size_t>(shape.rows * schedule.most_held() * kHeadDim) *
                               sizeof(float)));
  return shape.rows * schedule.most_held();
}

// Stores `tokens` per list of which each keeps the last `kept` candidates.
void store_last(KvCache& cache, const CacheShape& shape, int64_t layer, int scale, int64_t tokens,
                int64_t kept) {
  std::vector<float> rows(static_cast<size_t>(tokens * shape.head_dim), 1.0F);
  std::vector<KeptTokens> lists(static_cast<size_t>(shape.rows * shape.kv_heads));
  std::vector<int32_t> positions(static_cast<size_t>(kept));
  const int64_t candidates = cache.length(layer, 0, 0) + tokens;
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(candidates - kept));
  for (KeptTokens& list : lists) {
    list.current = {.k = rows.data(), .v = rows.data(), .tokens = tokens};
    list.positions = positions;
  }
  cache.store({}, layer, scale, lists);
}

TEST(CachePlaces, AListOfItsOwnIsNotMoreThanAllHoldAtOnceIfNothingShrinks) {
  const Schedule schedule = schedule_of({{1, 1}, {5, 3}, {0, 0}}, 2);
  EXPECT_EQ(planned_places(shape_of(2, 3, 2), schedule), 3 * 2 * (5 + 3));
}

// The layers' own maxima add up to 18. The worst moment is not between two steps: layer 0 has its 9
// already, layer 1 has 2 still.
TEST(CachePlaces, AreSharedByAllLayers) {
  const Schedule schedule = schedule_of({{2, 2}, {9, 1}, {1, 9}, {0, 0}}, 1);
  EXPECT_EQ(planned_places(shape_of(2, 1, 1), schedule), 11);
}

// What HeatKV does: a budget that holds right after every layer, though the layers' own maxima add
// up to much more.
TEST(CachePlaces, ReachTheNominalBudgetOfAScheduleThatKeepsIt) {
  constexpr int64_t kBudget = 40;
  const Schedule schedule = schedule_of(
      {{10, 10, 10, 10}, {4, 16, 10, 10}, {4, 4, 16, 16}, {4, 4, 4, 28}, {0, 0, 0, 0}}, 1);
  EXPECT_EQ(planned_places(shape_of(4, 1, 1), schedule), kBudget);
}

// What HACK++ does: the same total after every step.
TEST(CachePlaces, AreTheBudgetWhereLayersOnlyHandDown) {
  const Schedule schedule = schedule_of({{4, 4, 4}, {2, 5, 5}, {1, 2, 9}, {0, 0, 0}}, 2);
  EXPECT_EQ(planned_places(shape_of(3, 4, 2), schedule), 4 * 2 * 12);
}

TEST(CachePlaces, OfBoundsAreWhatTheLayersCanHoldTogether) {
  Schedule schedule = schedule_of({{8, 8}, {8, 8}, {0, 0}}, 1);
  for (int step = 0; step < 2; ++step) {
    for (int64_t layer = 0; layer < 2; ++layer) schedule.limit_held(step, layer, 10);
  }
  EXPECT_EQ(planned_places(shape_of(2, 1, 1), schedule), 10);
}

TEST(CachePlaces, LastScaleIsNeverReserved) {
  const Schedule schedule = schedule_of({{1}, {0}}, 1);
  EXPECT_EQ(planned_places(shape_of(1, 2, 1), schedule), 2);
}

TEST(CacheBytes, OfInt8AreAQuarterAndTwoFactorsPerToken) {
  CacheShape shape = shape_of(1, 16, 1);
  const Schedule schedule = schedule_of({{4}, {0}}, 1);
  shape.dtype = DType::kI8;
  const CacheBytes bytes = KvCache::planned_bytes(shape, schedule);
  EXPECT_EQ(bytes.keys_values, 2U * 64 * kHeadDim);
  EXPECT_EQ(bytes.factors, 2U * 64 * sizeof(float));
  EXPECT_EQ(bytes.scale_ids, 64U);
  KvCache cache(shape, schedule);
  store_last(cache, shape, 0, 0, 4, 3);
  EXPECT_EQ(cache.held_bytes(), 16U * 3 * 2 * (kHeadDim + sizeof(float)));
}

TEST(KvCache, ListsOfTheirOwnNeverMove) {
  const CacheShape shape = shape_of(2, 1, 2);
  const Schedule schedule = schedule_of({{2, 2}, {4, 4}, {4, 4}, {0, 0}}, 2);
  KvCache cache(shape, schedule);
  const void* first = cache.segment(1, 0, 1).k;
  for (int step = 0; step < 3; ++step) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      store_last(cache, shape, layer, step, 2, schedule.cached(step, layer, 0));
      EXPECT_EQ(cache.segment(1, 0, 1).k, first);
    }
  }
}

TEST(KvCacheDeathTest, MoreThanTheScheduleSaysIsRefused) {
  const CacheShape shape = shape_of(1, 1, 1);
  KvCache cache(shape, schedule_of({{2}, {0}}, 1));
  EXPECT_DEATH(store_last(cache, shape, 0, 0, 3, 3), "internal error");
}

TEST(KvCacheDeathTest, LayersAreStoredInOrder) {
  const CacheShape shape = shape_of(2, 1, 1);
  KvCache cache(shape, schedule_of({{2, 2}, {0, 0}}, 1));
  EXPECT_DEATH(store_last(cache, shape, 1, 0, 2, 2), "internal error");
}

}  // namespace
}  // namespace nextscale
