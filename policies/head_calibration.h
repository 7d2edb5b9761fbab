// SPDX-License-Identifier: Apache-2.0
// What calibration knows of a model's heads, for the head-aware methods HACK and HACK++
// (methods.md 11.1). Plain data; independent of batch and prompt.
#pragma once

#include <cstdint>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

enum class HeadClass { kContextual, kStructural };

inline constexpr int64_t kHeadClasses = 2;

struct HeadCalibration {
  std::vector<HeadClass> classes;  // [layers, kv_heads]
  std::vector<float> phi;          // [layers, kv_heads, steps, scales] mean attention of one token
  std::vector<float>
      reliance;  // [layers, classes, steps] gamma-bar, on what is cached after a step

  HeadClass class_of(const Geometry& geometry, int64_t layer, int64_t head) const {
    return classes[static_cast<size_t>(layer * geometry.kv_heads + head)];
  }
  // Heads per (layer, class): the groups that get equal lengths. [layers, classes]
  std::vector<int64_t> group_sizes(const Geometry& geometry) const {
    std::vector<int64_t> sizes(static_cast<size_t>(geometry.layers * kHeadClasses));
    for (size_t index = 0; index < classes.size(); ++index) {
      const size_t layer = index / static_cast<size_t>(geometry.kv_heads);
      ++sizes[layer * kHeadClasses + static_cast<size_t>(classes[index])];
    }
    return sizes;
  }
};

}  // namespace nextscale
