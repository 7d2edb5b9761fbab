// SPDX-License-Identifier: Apache-2.0
// Shapes of published models, for benchmarks that need no weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

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

// `name` is var-d16 ... var-d36 or infinity-2b; `size` is 256 or 512, or 0.06M, 0.25M or 1M; empty
// for the usual one. Throws Error(kUsage) with what there is.
BenchShape bench_shape(std::string_view name, std::string_view size);

// Of a model that runs here. Its blocks are taken to be as wide as its heads, with a feed-forward
// part of four times that.
BenchShape bench_shape_of(std::string name, const Geometry& geometry);

// Runs only this many of the layers; 0 for all. Throws Error(kUsage) for more than there are.
void limit_layers(BenchShape& shape, int64_t layers);

}  // namespace nextscale
