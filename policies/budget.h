// SPDX-License-Identifier: Apache-2.0
// Budgets: how they are written, how they become whole tokens, how groups share them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "policies/context.h"
#include "policies/policy.h"
#include "policies/spec.h"

namespace nextscale {

// Tokens per head: a share of the whole sequence, the last scale included, or a number.
struct Budget {
  double share = 0;    // in (0, 1]; 0 if `tokens` is meant
  int64_t tokens = 0;  // at least 1; 0 if `share` is meant

  int64_t of(int64_t sequence) const;
};

// The budget of the adapted baselines in HACK++ (arXiv 2606.08302), table I.
inline constexpr Budget kDefaultBudget{.share = 0.3, .tokens = 0};

// ceil(share * sequence), with a guard that keeps 0.3 * 680 at 204.
int64_t ceil_budget(double share, int64_t sequence);

// The setting `key` of a spec: `30%` of the whole sequence, `2048tok` per head, or `512MiB` for the
// keys and values of one image, all its rows, layers and heads; `fallback` if it is not given.
// Throws Error(kUsage) for 0, more than 100 %, less than one token and anything else.
Budget budget_setting(const PolicySpec& spec, std::string_view key, const PolicyContext& context,
                      Budget fallback = kDefaultBudget);

// The setting `cache` of methods that attend everything and choose only what they keep; `budget`
// is another word for it. Throws Error(kUsage), also if both are given.
Budget cache_budget_setting(const PolicySpec& spec, const PolicyContext& context, Budget fallback);

// One head of a group gets as many tokens as the others of its group.
struct BudgetGroup {
  double weight = 0;
  int64_t heads = 1;
  int64_t capacity = 0;  // tokens that a head can have
};

// Shares `total` (head, token) slots in proportion to the weights, at least `floor` tokens per head
// if the total allows it and never above the capacity; water filling, then rounding by largest
// fraction (methods.md 2.4). The result never exceeds the total, and what is left is smaller than
// the smallest group that could take more.
std::vector<int64_t> allocate(std::span<const BudgetGroup> groups, int64_t total, int64_t floor);

// The schedule of coupled methods with one budget: every head attends and keeps min(candidates,
// budget).
Schedule coupled_schedule(const Geometry& geometry, int64_t budget);

// Upper bounds for coupled methods whose layers share layers * budget, `minimum` each at least; all
// heads of a layer get the same.
Schedule shared_schedule(const Geometry& geometry, int64_t budget, int64_t minimum);

}  // namespace nextscale
