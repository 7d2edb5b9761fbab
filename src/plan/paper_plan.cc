// SPDX-License-Identifier: Apache-2.0
#include "plan/paper_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/planned_policy.h"
#include "policies/budget.h"

namespace nextscale {
namespace {

constexpr int64_t kGuidedSequences = 2;

// Bytes of one token in all layers and heads of one sequence.
int64_t token_bytes(const PaperModel& model) {
  const Geometry& geometry = model.geometry;
  return geometry.layers * geometry.kv_heads * geometry.head_dim * model.pair_bytes;
}

// HACK++ rounds its own budgets up, but what it prints of ScaleKV fits the share rounded down
// (methods.md 1.3).
PolicySpec as_papers_round(PolicySpec spec, const Geometry& geometry) {
  if (spec.name != "scalekv") return spec;
  const auto sequence = static_cast<double>(geometry.tokens_through(geometry.num_scales() - 1));
  for (const char* key : {"cache", "budget"}) {
    if (!spec.settings.contains(key) || !spec.settings[key].ends_with('%')) continue;
    const double share = budget_setting(spec, key, {.geometry = geometry}).share;
    const double tokens = std::max(1.0, std::floor(share * sequence));
    spec.settings[key] = fmt::format("{:.0f}tok", tokens);
  }
  return spec;
}

// Tokens per head that were asked for; the whole sequence if nothing was.
double asked_tokens(const PolicySpec& spec, const PolicyContext& context, double sequence) {
  for (const char* key : {"cache", "budget"}) {
    if (!spec.settings.contains(key)) continue;
    const Budget budget = budget_setting(spec, key, context);
    return budget.tokens > 0 ? std::min(static_cast<double>(budget.tokens), sequence)
                             : budget.share * sequence;
  }
  return sequence;
}

// The papers cache the last scale too and print the share that was asked for. Our schedules never
// cache the last scale, and differ from that share by rounding, or because the method means
// something else by it: then the most that it keeps
// counts.
double most_cached(const std::vector<StepCost>& steps, const PolicySpec& spec,
                   const PolicyContext& context) {
  constexpr double kRounding = 1.0;
  const Geometry& geometry = context.geometry;
  const int last = geometry.num_scales() - 1;
  const double asked =
      asked_tokens(spec, context, static_cast<double>(geometry.tokens_through(last)));
  const double kept = std::ranges::max(steps, {}, &StepCost::cached).cached;
  const bool keeps_all = kept == static_cast<double>(geometry.tokens_through(last - 1));
  return keeps_all || std::abs(kept - asked) < kRounding ? asked : kept;
}

}  // namespace

PaperPlan plan_as_papers_do(const PaperModel& model, const PolicySpec& asked,
                            const Calibration* calibration, int64_t images) {
  const PolicySpec spec = as_papers_round(asked, model.geometry);
  const PolicyContext context{
      .geometry = model.geometry,
      .calibration = calibration,
      .token_bytes = static_cast<uint64_t>(kGuidedSequences * token_bytes(model))};
  const PlannedPolicy planned = make_planned_policy(spec, context);
  const int64_t sequences = kGuidedSequences * images;
  PaperPlan plan;
  plan.assumes_equal_heads = planned.assumes_equal_heads;
  plan.steps = step_costs({.geometry = model.geometry,
                           .policy = *planned.policy,
                           .sequences = sequences,
                           .accounting = Accounting::kPaper,
                           .attended_prompt = model.attended_prompt});
  plan.cached_tokens = most_cached(plan.steps, asked, context);
  plan.kv_bytes = plan.cached_tokens * static_cast<double>(token_bytes(model) * sequences);
  return plan;
}

}  // namespace nextscale
