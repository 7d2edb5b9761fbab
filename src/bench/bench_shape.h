// SPDX-License-Identifier: Apache-2.0
// The part of a model's shape that benchmarks run: no weights are needed.
#pragma once

#include <string>

#include "core/geometry.h"

namespace nextscale {

struct BenchShape {
  std::string name;
  Geometry geometry;       // the layers that are run
  int64_t all_layers = 0;  // the model's; times and bytes are scaled up to them
  int64_t ffn_width = 0;

  int64_t width() const { return geometry.query_heads * geometry.head_dim; }
  double layer_factor() const {
    return static_cast<double>(all_layers) / static_cast<double>(geometry.layers);
  }
};

// Runs `layers` of the model's, all if 0. Blocks are taken to be as wide as their heads, with a
// feed-forward part of four times that, as those of VAR and Infinity are. Throws Error(kUsage) for
// more layers than there are.
BenchShape bench_shape(std::string name, const Geometry& geometry, int64_t layers);

}  // namespace nextscale
