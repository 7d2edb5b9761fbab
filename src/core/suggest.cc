// SPDX-License-Identifier: Apache-2.0
#include "core/suggest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace nextscale {
namespace {

constexpr size_t kMaxSuggestions = 3;
constexpr size_t kMaxTextBytes =
    64;  // longer texts are no misspelt names, and the cost is quadratic

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

size_t allowed_distance(size_t longer) { return std::max<size_t>(1, longer / 3); }

}  // namespace

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);  // distances of a prefix of left to prefixes of right
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t left_at = 0; left_at < left.size(); ++left_at) {
    size_t diagonal = std::exchange(row[0], left_at + 1);
    for (size_t right_at = 0; right_at < right.size(); ++right_at) {
      const size_t replaced = diagonal + (lower(left[left_at]) == lower(right[right_at]) ? 0 : 1);
      diagonal = row[right_at + 1];
      row[right_at + 1] = std::min({replaced, diagonal + 1, row[right_at] + 1});
    }
  }
  return row.back();
}

std::vector<std::string_view> nearest_names(std::string_view text,
                                            std::span<const std::string_view> candidates,
                                            size_t max_names) {
  if (text.size() > kMaxTextBytes) return {};
  std::vector<std::pair<size_t, std::string_view>> near;
  for (const std::string_view candidate : candidates) {
    const size_t distance = edit_distance(text, candidate);
    if (distance > allowed_distance(std::max(text.size(), candidate.size()))) continue;
    near.emplace_back(distance, candidate);
  }
  std::ranges::stable_sort(near, {}, &std::pair<size_t, std::string_view>::first);
  std::vector<std::string_view> names;
  for (size_t rank = 0; rank < std::min(max_names, near.size()); ++rank) {
    names.push_back(near[rank].second);
  }
  return names;
}

std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates) {
  const auto names = nearest_names(text, candidates, kMaxSuggestions);
  if (names.empty()) return "";
  std::string message = "; did you mean ";
  for (size_t rank = 0; rank < names.size(); ++rank) {
    if (rank > 0) message += rank + 1 == names.size() ? " or " : ", ";
    message += names[rank];
  }
  return message + "?";
}

}  // namespace nextscale
