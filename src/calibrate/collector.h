// SPDX-License-Identifier: Apache-2.0
// Measures a model's attention while it generates under the full cache (specs: HACK++ Eq. 6 and 7,
// ScaleKV's attention selectivity index): one pass, no attention matrix is ever held.
//
// Set Context::probe to a collector and generate. Each row of a batch (guided and unguided rows
// alike) is a sequence of its own, measured by itself and added in the order image by image, the
// guided row first; a batch that is broken off adds nothing. Not thread safe.
#pragma once

#include <vector>

#include "attention/attention_probe.h"
#include "calibrate/sums.h"
#include "core/geometry.h"

namespace nextscale {

class CalibrationCollector final : public AttentionProbe {
 public:
  // `asi_top`: how many history tokens of a query the selectivity index looks at (K' of ScaleKV).
  CalibrationCollector(const Geometry& geometry, int64_t asi_top);

  size_t scratch_bytes(const Context& context, const AttentionSetup& setup) const override;
  void see(const Context& context, const AttentionSetup& setup, int scale, int64_t layer,
           const kernels::AttentionArgs& args) override;

  // Of all whole batches so far.
  const CalibrationSums& sums() const { return sums_; }
  // Goes on from sums of an earlier run.
  void resume(CalibrationSums sums) { sums_ = std::move(sums); }

 private:
  void begin_batch(int64_t rows);
  // Puts what the operator said of one query head into its row's figures.
  void add_head(int64_t row, int64_t query_head, int scale, int64_t layer);
  void finish_batch(int64_t images);

  Geometry geometry_;
  int64_t asi_top_;
  std::vector<int64_t> scale_ends_;
  CalibrationSums sums_;
  std::vector<CalibrationSums> rows_;  // of the batch that is running
  // What the operator says of the current layer.
  std::vector<double> mass_;      // [rows, query_heads, scales]
  std::vector<double> top_;       // [rows, query_heads]
  std::vector<double> variance_;  // [rows, query_heads]
};

}  // namespace nextscale
