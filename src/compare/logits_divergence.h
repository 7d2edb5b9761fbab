// SPDX-License-Identifier: Apache-2.0
// How far the guided logits of one run are from those of another that chose the same labels: for
// each scale and picture the mean over its tokens of KL(reference || other), in nats. A token of
// several labels, such as bits, counts with the sum over them; they are chosen independently.
//
// Both are sinks of traced runs of one batch (Events::trace). The reference keeps its logits, f32
// [scales][images, tokens, labels per token, categories]; the other run's are compared as they come
// and never kept. Not thread safe.
#pragma once

#include <vector>

#include "core/trace.h"

namespace nextscale {

// The mean over tokens of KL(reference || other) for each image. Both are f32 [images, tokens,
// categories] or [images, tokens, labels per token, categories] of finite logits.
std::vector<double> mean_divergence(const ConstTensorView& reference, const ConstTensorView& other);

class ReferenceLogits final : public TraceSink {
 public:
  void record(const std::string& name, const ConstTensorView& value) override;
  bool wants_attention() const override { return false; }
  bool wants_pictures() const override { return false; }

  // In the order of the scales.
  const std::vector<Tensor>& scales() const { return scales_; }

 private:
  std::vector<Tensor> scales_;
};

class LogitsDivergence final : public TraceSink {
 public:
  // Borrows the reference's logits.
  explicit LogitsDivergence(const ReferenceLogits& reference) : reference_(reference) {}

  void record(const std::string& name, const ConstTensorView& value) override;
  bool wants_attention() const override { return false; }
  bool wants_pictures() const override { return false; }

  // [scales][images]
  const std::vector<std::vector<double>>& per_scale() const { return per_scale_; }

 private:
  const ReferenceLogits& reference_;
  std::vector<std::vector<double>> per_scale_;
};

}  // namespace nextscale
