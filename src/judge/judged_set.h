// SPDX-License-Identifier: Apache-2.0
// What a judge saw in a set of pictures, kept for the figures of the whole set: a feature vector,
// class scores and verdicts of each. About a kilobyte a picture. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "judge/bootstrap.h"
#include "judge/expectation.h"
#include "judge/judge.h"
#include "judge/set_metrics.h"

namespace nextscale {

class JudgedSet {
 public:
  explicit JudgedSet(const JudgeConfig& config)
      : labels_(config.labels),
        features_(config.num_features()),
        class_scores_(static_cast<int64_t>(config.labels.classes.size())) {}

  // `expected`: what the picture should show, if that is known.
  void add(const SeenPicture& seen, const std::optional<Expectation>& expected);

  int64_t size() const { return features_.size(); }
  int64_t num_expected() const { return num_expected_; }
  const FeatureSet& features() const { return features_; }
  const FeatureSet& class_scores() const { return class_scores_; }
  // Share of the pictures whose expectation speaks of the attribute that show it; without any, of
  // count 0.
  MeanInterval accuracy(Attribute attribute) const;

 private:
  JudgeLabels labels_;
  FeatureSet features_;
  FeatureSet class_scores_;
  std::array<std::vector<double>, kAttributeNames.size()> verdicts_;  // 1 or 0
  int64_t num_expected_ = 0;
};

}  // namespace nextscale
