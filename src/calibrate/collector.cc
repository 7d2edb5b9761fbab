// SPDX-License-Identifier: Apache-2.0
#include "calibrate/collector.h"

#include "attention/head_selector.h"
#include "core/error_format.h"

namespace nextscale {

CalibrationCollector::CalibrationCollector(const Geometry& geometry, int64_t asi_top)
    : geometry_(geometry), asi_top_(asi_top), sums_(empty_sums(geometry)) {
  if (geometry.num_scales() > kernels::kMaxProfileScales) {
    fail(ErrorCode::kUnsupported, "calibrate: got a schedule of {} scales, wanted at most {}",
         geometry.num_scales(), kernels::kMaxProfileScales);
  }
  NEXTSCALE_ASSERT(asi_top >= 1 && asi_top <= kernels::kMaxProfileTop);
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    scale_ends_.push_back(geometry.tokens_through(scale));
  }
}

size_t CalibrationCollector::scratch_bytes(const Context& context,
                                           const AttentionSetup& setup) const {
  kernels::AttentionArgs shape;
  shape.rows = setup.rows;
  shape.query_heads = geometry_.query_heads;
  shape.kv_heads = geometry_.kv_heads;
  shape.queries = geometry_.tokens(geometry_.num_scales() - 1);
  shape.head_dim = geometry_.head_dim;
  return context.kernels->attention_profile_scratch(context, shape, scale_ends_.back());
}

void CalibrationCollector::begin_batch(int64_t rows) {
  rows_.assign(static_cast<size_t>(rows), empty_sums(geometry_));
  const auto heads = static_cast<size_t>(rows * geometry_.query_heads);
  mass_.resize(heads * scale_ends_.size());
  top_.resize(heads);
  variance_.resize(heads);
}

void CalibrationCollector::see(const Context& context, const AttentionSetup& setup, int scale,
                               int64_t layer, const kernels::AttentionArgs& args) {
  if (scale == 0 && layer == 0) begin_batch(args.rows);
  const bool is_last_scale = scale + 1 == geometry_.num_scales();
  for (const kernels::AttentionHead& head : args.heads) {
    NEXTSCALE_ASSERT(head.attend == nullptr &&
                     head.num_keys() == scale_ends_[static_cast<size_t>(scale)]);
  }
  context.kernels->attention_profile(
      context, {.attention = &args,
                .scale_ends = std::span(scale_ends_).first(static_cast<size_t>(scale) + 1),
                .num_top = asi_top_,
                .mass = mass_.data(),
                .top = top_.data(),
                .variance = is_last_scale ? variance_.data() : nullptr});
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t head = 0; head < geometry_.query_heads; ++head) add_head(row, head, scale, layer);
  }
  if (is_last_scale && layer + 1 == geometry_.layers) finish_batch(setup.images);
}

void CalibrationCollector::add_head(int64_t row, int64_t query_head, int scale, int64_t layer) {
  CalibrationSums& out = rows_[static_cast<size_t>(row)];
  const int64_t group = geometry_.query_heads / geometry_.kv_heads;
  const int64_t steps = geometry_.num_scales();
  const int64_t list = layer * geometry_.kv_heads + query_head / group;
  const int64_t head = row * geometry_.query_heads + query_head;
  const double* mass = mass_.data() + head * (scale + 1);
  const double share = 1.0 / static_cast<double>(group);
  for (int source = 0; source <= scale; ++source) {
    out.mass[static_cast<size_t>((list * steps + scale) * steps + source)] += share * mass[source];
  }
  out.history_top[static_cast<size_t>(layer * steps + scale)] +=
      top_[static_cast<size_t>(head)] / static_cast<double>(geometry_.query_heads);
  if (scale + 1 == steps) {
    out.sigma[static_cast<size_t>(list)] += share * variance_[static_cast<size_t>(head)];
  }
}

void CalibrationCollector::finish_batch(int64_t images) {
  const auto rows = static_cast<int64_t>(rows_.size());
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t row = image; row < rows; row += images) {
      rows_[static_cast<size_t>(row)].sequences = 1;
      sums_.add(rows_[static_cast<size_t>(row)]);
    }
  }
}

}  // namespace nextscale
