// SPDX-License-Identifier: Apache-2.0
// LOOK-M (Wan et al., arXiv 2406.18139): H2O's choice, and every evicted token is merged into the
// kept one with the most similar key before attention. Coupled. Its other idea, keeping text before
// images, is the knob protect.
//
// Knobs: budget (30 %, as in HACK++ table I); heavy_ratio (0.5) and obs (all) as in H2O; merge
// (pivot, the published headline setting; average, weighted); protect, scales kept before all
// others (none).
#include "policies/lookm.h"

#include "policies/budget.h"
#include "policies/heavy_hitters.h"
#include "policies/merge_setting.h"

namespace nextscale {
namespace {

class Lookm : public Policy {
 public:
  Lookm(Budget budget, HeavyHitters hitters, Merge merge)
      : budget_(budget), hitters_(hitters), merge_(merge) {}

  Needs needs() const override {
    Needs needs = hitters_.needs();
    needs.may_merge = true;
    return needs;
  }

  Schedule schedule(const Geometry& geometry) const override {
    return coupled_schedule(geometry,
                            budget_.of(geometry.tokens_through(geometry.num_scales() - 1)));
  }

  void select(const HeadStatistics& head, Selection& selection) const override {
    hitters_.select(head, selection);
    selection.merge = merge_;
  }

 private:
  Budget budget_;
  HeavyHitters hitters_;
  Merge merge_;
};

}  // namespace

std::unique_ptr<Policy> make_lookm(const PolicySpec& spec, const PolicyContext& context) {
  require_known_settings(spec, {"budget", "heavy_ratio", "obs", "protect", "merge"});
  return std::make_unique<Lookm>(budget_setting(spec, "budget", context),
                                 heavy_hitters_setting(spec, context),
                                 merge_setting(spec, Merge::kPivot));
}

}  // namespace nextscale
