// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_shape.h"

#include "core/error_format.h"

namespace nextscale {

BenchShape bench_shape(std::string name, const Geometry& geometry, int64_t layers) {
  constexpr int64_t kFfnFactor = 4;
  if (layers < 0 || layers > geometry.layers) {
    fail(ErrorCode::kUsage, "--layers: got {}, wanted 1 to {}, or 0 for all", layers,
         geometry.layers);
  }
  BenchShape shape{.name = std::move(name), .geometry = geometry, .all_layers = geometry.layers};
  if (layers > 0) shape.geometry.layers = layers;
  shape.ffn_width = kFfnFactor * shape.width();
  return shape;
}

}  // namespace nextscale
