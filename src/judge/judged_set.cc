// SPDX-License-Identifier: Apache-2.0
#include "judge/judged_set.h"

namespace nextscale {

void JudgedSet::add(const SeenPicture& seen, const std::optional<Expectation>& expected) {
  features_.add(seen.features);
  class_scores_.add(seen.class_scores);
  if (!expected) return;
  ++num_expected_;
  const Verdict verdict = check(*expected, seen, labels_);
  for (size_t attribute = 0; attribute < verdict.size(); ++attribute) {
    if (verdict[attribute]) verdicts_[attribute].push_back(*verdict[attribute] ? 1.0 : 0.0);
  }
}

MeanInterval JudgedSet::accuracy(Attribute attribute) const {
  return bootstrap_mean(verdicts_[static_cast<size_t>(attribute)]);
}

}  // namespace nextscale
