// SPDX-License-Identifier: Apache-2.0
#include "policies/budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>

#include "core/error_format.h"
#include "core/memory_info.h"

namespace nextscale {
namespace {

// Products such as 0.3 * 680 come out a few units in the last place above the whole number.
constexpr double kRoundingGuard = 1e-9;
constexpr double kPercent = 100.0;

constexpr std::string_view kTokens = "tok";

struct BudgetText {
  const PolicySpec& spec;
  std::string_view key;
  std::string_view value;
};

[[noreturn]] void refuse(const BudgetText& text, std::string_view wanted, std::string_view valid) {
  fail(ErrorCode::kUsage, "--kv: policy '{}' got {}={}, wanted {}; write for example {}:{}={}",
       text.spec.name, text.key, printable(text.value), wanted, text.spec.name, text.key, valid);
}

// Reads a number that ends where `text` ends.
template <typename Number>
bool read_all(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

Budget share_of(const BudgetText& text) {
  double percent = 0;
  const bool is_number = read_all(text.value.substr(0, text.value.size() - 1), &percent);
  if (!is_number || !(percent > 0) || !(percent <= kPercent)) {
    refuse(text, "more than 0% and at most 100%", percent > kPercent ? "100%" : "30%");
  }
  return {.share = percent / kPercent, .tokens = 0};
}

Budget tokens_of(const BudgetText& text) {
  int64_t tokens = 0;
  const auto number = text.value.substr(0, text.value.size() - kTokens.size());
  if (!read_all(number, &tokens) || tokens < 1) refuse(text, "at least 1tok", "1tok");
  return {.share = 0, .tokens = tokens};
}

Budget bytes_of(const BudgetText& text, uint64_t token_bytes) {
  const std::optional<uint64_t> bytes = read_bytes(text.value);
  if (!bytes) refuse(text, "a size of at least one byte", "512MiB");
  if (token_bytes == 0) {
    refuse(text, "a share or tokens, because the bytes of a token are not known here", "30%");
  }
  const uint64_t tokens = *bytes / token_bytes;
  if (tokens == 0) {
    refuse(text, "at least one token per head, which takes " + format_bytes(token_bytes), "1tok");
  }
  return {.share = 0, .tokens = static_cast<int64_t>(tokens)};
}

// Real-valued shares; the total is below the sum of capacities.
class WaterFilling {
 public:
  WaterFilling(std::span<const BudgetGroup> groups, int64_t total, int64_t floor)
      : groups_(groups), total_(static_cast<double>(total)) {
    int64_t heads = 0;
    for (const BudgetGroup& group : groups) heads += group.heads;
    floor_ = floor * heads <= total ? floor : 0;
    uniform_ = std::ranges::all_of(
        groups, [](const BudgetGroup& group) { return group.heads == 0 || group.weight == 0; });
  }

  int64_t lowest(const BudgetGroup& group) const { return std::min(floor_, group.capacity); }

  std::vector<double> shares() const {
    const double level = find_level();
    std::vector<double> result;
    for (const BudgetGroup& group : groups_) result.push_back(share(group, level));
    return result;
  }

 private:
  double weight(const BudgetGroup& group) const { return uniform_ ? 1.0 : group.weight; }

  double share(const BudgetGroup& group, double level) const {
    return std::clamp(level * weight(group), static_cast<double>(lowest(group)),
                      static_cast<double>(group.capacity));
  }

  double used(double level) const {
    double sum = 0;
    for (const BudgetGroup& group : groups_) {
      sum += static_cast<double>(group.heads) * share(group, level);
    }
    return sum;
  }

  // Between two neighbouring breakpoints the used amount is linear in the level, so the level is
  // exact: sort the breakpoints, find the interval, interpolate.
  double find_level() const {
    std::vector<double> breakpoints{0.0};
    for (const BudgetGroup& group : groups_) {
      if (group.heads == 0 || weight(group) == 0) continue;
      breakpoints.push_back(static_cast<double>(lowest(group)) / weight(group));
      breakpoints.push_back(static_cast<double>(group.capacity) / weight(group));
    }
    std::ranges::sort(breakpoints);
    double below = 0;
    for (const double point : breakpoints) {
      if (used(point) > total_) return interpolate(below, point);
      below = point;
    }
    return below;
  }

  double interpolate(double below, double above) const {
    const double used_below = used(below);
    const double used_above = used(above);
    return below + (above - below) * (total_ - used_below) / (used_above - used_below);
  }

  std::span<const BudgetGroup> groups_;
  double total_;
  int64_t floor_ = 0;
  bool uniform_ = false;
};

// Groups by the fraction that rounding down took from them, largest first; equal to nine decimals
// counts as equal.
std::vector<size_t> by_fraction(std::span<const double> shares) {
  constexpr double kDecimals = 1e9;
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto fraction = [shares](size_t group) {
    const double part = shares[group] - std::floor(shares[group] + kRoundingGuard);
    return std::round(part * kDecimals);
  };
  std::ranges::stable_sort(
      order, [&](size_t left, size_t right) { return fraction(left) > fraction(right); });
  return order;
}

// Gives single tokens to whole groups until nothing more fits.
void hand_out(std::span<const BudgetGroup> groups, std::span<const size_t> order, int64_t left,
              std::vector<int64_t>* budgets) {
  bool changed = true;
  while (changed) {
    changed = false;
    for (const size_t group : order) {
      const int64_t heads = groups[group].heads;
      if (heads == 0 || heads > left || (*budgets)[group] >= groups[group].capacity) continue;
      ++(*budgets)[group];
      left -= heads;
      changed = true;
    }
  }
}

}  // namespace

int64_t Budget::of(int64_t sequence) const {
  return tokens > 0 ? tokens : ceil_budget(share, sequence);
}

int64_t ceil_budget(double share, int64_t sequence) {
  return static_cast<int64_t>(std::ceil(share * static_cast<double>(sequence) - kRoundingGuard));
}

Budget budget_setting(const PolicySpec& spec, std::string_view key, const PolicyContext& context,
                      Budget fallback) {
  const auto found = spec.settings.find(std::string(key));
  if (found == spec.settings.end()) return fallback;
  const BudgetText text{spec, key, found->second};
  if (text.value.ends_with('%')) return share_of(text);
  if (text.value.ends_with(kTokens)) return tokens_of(text);
  if (text.value.ends_with('B')) return bytes_of(text, context.token_bytes);
  refuse(text, "a share of the sequence (30%), tokens per head (2048tok) or bytes (512MiB)", "30%");
}

Budget cache_budget_setting(const PolicySpec& spec, const PolicyContext& context, Budget fallback) {
  if (spec.settings.contains("cache") && spec.settings.contains("budget")) {
    fail(ErrorCode::kUsage, "--kv: policy '{}' got cache and budget, which mean the same; give one",
         spec.name);
  }
  return budget_setting(spec, "cache", context, budget_setting(spec, "budget", context, fallback));
}

std::vector<int64_t> allocate(std::span<const BudgetGroup> groups, int64_t total, int64_t floor) {
  std::vector<int64_t> budgets(groups.size());
  int64_t most = 0;
  for (size_t group = 0; group < groups.size(); ++group) {
    if (groups[group].heads == 0) continue;
    budgets[group] = groups[group].capacity;
    most += groups[group].heads * groups[group].capacity;
  }
  if (total >= most) return budgets;

  const WaterFilling filling(groups, total, floor);
  const std::vector<double> shares = filling.shares();
  int64_t left = total;
  for (size_t group = 0; group < groups.size(); ++group) {
    if (groups[group].heads == 0) continue;
    const auto whole = static_cast<int64_t>(std::floor(shares[group] + kRoundingGuard));
    budgets[group] = std::clamp(whole, filling.lowest(groups[group]), groups[group].capacity);
    left -= groups[group].heads * budgets[group];
  }
  hand_out(groups, by_fraction(shares), left, &budgets);
  return budgets;
}

Schedule coupled_schedule(const Geometry& geometry, int64_t budget) {
  Schedule result(geometry.num_scales(), geometry.layers, geometry.kv_heads);
  int64_t cached = 0;
  for (int step = 0; step < geometry.num_scales(); ++step) {
    const bool is_last = step + 1 == geometry.num_scales();
    cached = std::min(cached + geometry.tokens(step), budget);
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      for (int64_t head = 0; head < geometry.kv_heads; ++head) {
        result.attended(step, layer, head) = cached;
        result.cached(step, layer, head) = is_last ? 0 : cached;
      }
    }
  }
  return result;
}

Schedule shared_schedule(const Geometry& geometry, int64_t budget, int64_t minimum) {
  const int64_t others = std::min(minimum, budget) * (geometry.layers - 1);
  Schedule result = coupled_schedule(geometry, geometry.layers * budget - others);
  // After a step the layers hold `shared` at most. While it runs, those that are done hold at most
  // that and those to come at most that; and those that are done grew by a scale each at most.
  const int64_t shared = geometry.layers * budget;
  for (int step = 0; step < geometry.num_scales(); ++step) {
    const int64_t before = geometry.tokens_through(step - 1);
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      const int64_t done = layer + 1;
      const int64_t to_come = geometry.layers - done;
      const int64_t apart = std::min(shared, done * (before + geometry.tokens(step))) +
                            std::min(shared, to_come * before);
      const int64_t grown =
          std::min(shared, geometry.layers * before) + done * geometry.tokens(step);
      result.limit_held(step, layer, geometry.kv_heads * std::min(apart, grown));
    }
  }
  return result;
}

}  // namespace nextscale
