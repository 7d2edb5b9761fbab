// SPDX-License-Identifier: Apache-2.0
#include "policies/selection.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <numeric>

namespace nextscale {
namespace {

constexpr int kDigitBits = 8;
constexpr int kKeyBits = 32;
constexpr uint32_t kDigitMask = (1U << kDigitBits) - 1;

// Larger scores have larger keys; 0 and -0 have the same.
uint32_t key_of(float score) {
  constexpr uint32_t kSign = 0x80000000U;
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

// What is chosen: every key above `key`, and the first `ties` that equal it.
struct Threshold {
  uint32_t key = 0;
  int64_t ties = 0;
};

// Radix selection, most significant digit first: after each digit only the keys that share it are
// looked at again. Keys are 0 < n <= count numbers; they are overwritten.
Threshold nth_largest(std::span<uint32_t> keys, int64_t n) {
  Threshold result{.key = 0, .ties = n};
  for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    std::array<int32_t, kDigitMask + 1> counts{};
    for (const uint32_t key : keys) ++counts[(key >> shift) & kDigitMask];
    uint32_t digit = kDigitMask;
    while (counts[digit] < result.ties) result.ties -= counts[digit--];
    result.key |= digit << shift;
    size_t num_left = 0;
    for (const uint32_t key : keys) {
      keys[num_left] = key;
      num_left += ((key >> shift) & kDigitMask) == digit ? 1 : 0;
    }
    keys = keys.first(num_left);
  }
  return result;
}

void max_pool(std::span<const float> x, int64_t reach, std::span<float> out) {
  const auto size = static_cast<int64_t>(x.size());
  std::ranges::copy(x, out.begin());
  for (int64_t offset = 1; offset <= std::min(reach, size - 1); ++offset) {
    const float* before = x.data();
    const float* after = x.data() + offset;
    for (int64_t at = 0; at < size - offset; ++at) {
      out[static_cast<size_t>(at + offset)] =
          std::max(out[static_cast<size_t>(at + offset)], before[at]);
    }
    for (int64_t at = 0; at < size - offset; ++at) {
      out[static_cast<size_t>(at)] = std::max(out[static_cast<size_t>(at)], after[at]);
    }
  }
}

// In blocks, so that the sums of many windows grow side by side.
void average_pool(std::span<const float> x, int64_t reach, std::span<float> out) {
  constexpr int64_t kBlock = 256;
  const auto size = static_cast<int64_t>(x.size());
  const auto kernel = static_cast<double>(2 * reach + 1);
  for (int64_t first = 0; first < size; first += kBlock) {
    const int64_t end = std::min(size, first + kBlock);
    std::array<double, kBlock> sums{};
    for (int64_t offset = -reach; offset <= reach; ++offset) {
      const int64_t last = std::min(end, size - offset);
      for (int64_t at = std::max(first, -offset); at < last; ++at) {
        sums[static_cast<size_t>(at - first)] +=
            static_cast<double>(x[static_cast<size_t>(at + offset)]);
      }
    }
    for (int64_t at = first; at < end; ++at) {
      out[static_cast<size_t>(at)] =
          static_cast<float>(sums[static_cast<size_t>(at - first)] / kernel);
    }
  }
}

}  // namespace

void top(std::span<const float> score, int64_t n, std::span<int32_t> order,
         std::span<int32_t> out) {
  if (n == 0) return;
  // The workspace holds the keys: an unsigned view of it is allowed.
  const std::span keys(reinterpret_cast<uint32_t*>(order.data()), score.size());
  std::ranges::transform(score, keys.begin(), key_of);
  Threshold threshold = nth_largest(keys, n);
  int64_t num_chosen = 0;
  for (size_t position = 0; num_chosen < n; ++position) {
    const uint32_t key = key_of(score[position]);
    const bool is_tie = key == threshold.key && threshold.ties > 0;
    out[static_cast<size_t>(num_chosen)] = static_cast<int32_t>(position);
    threshold.ties -= is_tie ? 1 : 0;
    num_chosen += is_tie || key > threshold.key ? 1 : 0;
  }
}

void pool1d(std::span<const float> x, int64_t kernel, Pool pool, std::span<float> out) {
  if (pool == Pool::kMax) {
    max_pool(x, kernel / 2, out);
  } else {
    average_pool(x, kernel / 2, out);
  }
}

void keep_attended(const HeadStatistics& statistics, Selection& selection) {
  const bool is_last = statistics.step + 1 == statistics.num_steps;
  selection.num_keep = is_last ? 0 : selection.num_attend;
  std::copy_n(selection.attend.begin(), selection.num_keep, selection.keep.begin());
}

}  // namespace nextscale
