// SPDX-License-Identifier: Apache-2.0
// `mass`, of our own: HACK++'s budgets and choices (hackpp.cc), but what is dropped leaves its
// softmax mass behind. Every token has a weight, 1 at first. A token that is not attended, or not
// kept, gives its weight to the one with the most similar key (cosine, the first on ties) among
// those that are; that one's value becomes the mean of all it stands for, by their weights, its key
// stays, and attention adds the logarithm of its weight to its logit. Without this, softmax hands
// the mass of dropped tokens to whatever is left, wherever that points.
//
// Choices are made as HACK++ makes them, without a look at the weights. A weight takes four bytes
// beside a token's key and value.
//
// Knobs: those of hackpp. What it gains and loses against hackpp: docs/policies.md.
#include "policies/mass.h"

#include "policies/hackpp.h"

namespace nextscale {
namespace {

class Mass : public Policy {
 public:
  explicit Mass(std::unique_ptr<Policy> chooser) : chooser_(std::move(chooser)) {}

  Needs needs() const override { return with_weights(chooser_->needs()); }
  Needs head_needs(int64_t layer, int64_t head) const override {
    return with_weights(chooser_->head_needs(layer, head));
  }
  Schedule schedule(const Geometry& geometry) const override {
    return chooser_->schedule(geometry);
  }
  void select(const HeadStatistics& head, Selection& selection) const override {
    chooser_->select(head, selection);
  }

 private:
  static Needs with_weights(Needs needs) {
    needs.weighs_tokens = true;
    return needs;
  }

  std::unique_ptr<Policy> chooser_;
};

}  // namespace

std::unique_ptr<Policy> make_mass(const PolicySpec& spec, const PolicyContext& context) {
  return std::make_unique<Mass>(make_hackpp(spec, context));
}

}  // namespace nextscale
