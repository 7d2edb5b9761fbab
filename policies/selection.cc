// SPDX-License-Identifier: Apache-2.0
#include "policies/selection.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace nextscale {
namespace {

float pooled_at(std::span<const float> x, int64_t first, int64_t last, Pool pool, int64_t kernel) {
  if (pool == Pool::kMax) return *std::max_element(x.begin() + first, x.begin() + last);
  const double sum = std::accumulate(x.begin() + first, x.begin() + last, 0.0);
  return static_cast<float>(sum / static_cast<double>(kernel));
}

}  // namespace

void top(std::span<const float> score, int64_t n, std::span<int32_t> order,
         std::span<int32_t> out) {
  const auto candidates = order.first(score.size());
  std::iota(candidates.begin(), candidates.end(), 0);
  const auto better = [score](int32_t left, int32_t right) {
    const float left_score = score[static_cast<size_t>(left)];
    const float right_score = score[static_cast<size_t>(right)];
    return left_score != right_score ? left_score > right_score : left < right;
  };
  if (n < static_cast<int64_t>(score.size())) {
    std::nth_element(candidates.begin(), candidates.begin() + n, candidates.end(), better);
  }
  const auto chosen = candidates.first(static_cast<size_t>(n));
  std::ranges::sort(chosen);
  std::ranges::copy(chosen, out.begin());
}

void pool1d(std::span<const float> x, int64_t kernel, Pool pool, std::span<float> out) {
  const auto size = static_cast<int64_t>(x.size());
  const int64_t reach = kernel / 2;
  for (int64_t at = 0; at < size; ++at) {
    const int64_t first = std::max<int64_t>(at - reach, 0);
    const int64_t last = std::min(at + reach + 1, size);
    out[static_cast<size_t>(at)] = pooled_at(x, first, last, pool, kernel);
  }
}

void keep_attended(const HeadStatistics& statistics, Selection& selection) {
  const bool is_last = statistics.step + 1 == statistics.num_steps;
  selection.num_keep = is_last ? 0 : selection.num_attend;
  std::copy_n(selection.attend.begin(), selection.num_keep, selection.keep.begin());
}

}  // namespace nextscale
