// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace nextscale {
namespace {

using testing::Each;

constexpr int64_t kCount = 10000;

class ParallelFor : public testing::TestWithParam<int> {};

TEST_P(ParallelFor, VisitsEveryIndexOnce) {
  std::vector<int> visits(kCount);
  parallel_for(GetParam(), kCount,
               [&](int64_t index, int) { ++visits[static_cast<size_t>(index)]; });
  EXPECT_THAT(visits, Each(1));
}

TEST_P(ParallelFor, WorkersStayBelowTheirNumber) {
  std::vector<int> workers(kCount);
  parallel_for(GetParam(), kCount,
               [&](int64_t index, int worker) { workers[static_cast<size_t>(index)] = worker; });
  EXPECT_THAT(workers, Each(testing::AllOf(testing::Ge(0), testing::Lt(GetParam()))));
}

TEST_P(ParallelFor, WorkersDoNotShareTheirScratch) {
  std::vector<int64_t> sums(static_cast<size_t>(GetParam()));
  parallel_for(GetParam(), kCount,
               [&](int64_t index, int worker) { sums[static_cast<size_t>(worker)] += index; });
  int64_t total = 0;
  for (const int64_t sum : sums) total += sum;
  EXPECT_EQ(total, kCount * (kCount - 1) / 2);
}

TEST_P(ParallelFor, ResultsAreVisibleToTheNextLoop) {
  std::vector<int64_t> values(kCount);
  for (int64_t round = 0; round < 20; ++round) {
    parallel_for(GetParam(), kCount, [&](int64_t index, int) {
      values[static_cast<size_t>((index * 7919 + round) % kCount)] += 1;
    });
  }
  EXPECT_THAT(values, Each(20));
}

TEST_P(ParallelFor, EmptyLoopDoesNothing) {
  parallel_for(GetParam(), 0, [](int64_t, int) { FAIL(); });
}

INSTANTIATE_TEST_SUITE_P(Threads, ParallelFor, testing::Values(1, 2, 3, 8));

TEST(AvailableThreads, IsAtLeastOne) { EXPECT_GE(available_threads(), 1); }

}  // namespace
}  // namespace nextscale
