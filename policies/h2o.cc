// SPDX-License-Identifier: Apache-2.0
// H2O (Zhang et al., arXiv 2306.14048): half of the budget for heavy hitters, the tokens with the
// most attention so far (a_j += sum_i A[i, j] in every step), half for the most recent candidates.
// Coupled. At large scales the recent half lies inside the current scale.
//
// Knobs: budget (30 %, as in HACK++ table I); heavy_ratio (0.5, official); obs, how many queries
// vote (all, official; scoring then costs a whole attention matrix); protect, scales kept before
// all others (none).
#include "policies/h2o.h"

#include "policies/budget.h"
#include "policies/heavy_hitters.h"

namespace nextscale {
namespace {

class H2o : public Policy {
 public:
  H2o(Budget budget, HeavyHitters hitters) : budget_(budget), hitters_(hitters) {}

  Needs needs() const override { return hitters_.needs(); }

  Schedule schedule(const Geometry& geometry) const override {
    return coupled_schedule(geometry,
                            budget_.of(geometry.tokens_through(geometry.num_scales() - 1)));
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    hitters_.select(head, selection);
  }

 private:
  Budget budget_;
  HeavyHitters hitters_;
};

}  // namespace

std::unique_ptr<Policy> make_h2o(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"budget", "heavy_ratio", "obs", "protect"});
  return std::make_unique<H2o>(budget_setting(spec, "budget", context),
                               heavy_hitters_setting(spec, context));
}

}  // namespace nextscale
