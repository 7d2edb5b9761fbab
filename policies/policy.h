// SPDX-License-Identifier: Apache-2.0
// What a cache compression method is. Read this first; then any file beside it.
//
// A policy says how many tokens each (step, layer, kv head) attends and keeps, and which. It sees
// lengths and statistics, never keys, values or the cache; it is pure: same input, same answer. The
// engine reserves memory from schedule(), runs select() where the schedule keeps fewer tokens than
// there are, and the cache carries the answer out.
//
// A new policy is one file here, one row in registry.cc and one test.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

// Tokens attended and cached, per step, layer and kv head.
class Schedule {
 public:
  Schedule(int steps, int64_t layers, int64_t kv_heads)
      : layers_(layers),
        heads_(kv_heads),
        attended_(static_cast<size_t>(steps * layers * kv_heads)),
        cached_(attended_.size()) {}

  // Keys that step `step` attends, out of its candidates (cache, then current scale).
  int64_t& attended(int step, int64_t layer, int64_t head) {
    return attended_[index(step, layer, head)];
  }
  int64_t attended(int step, int64_t layer, int64_t head) const {
    return attended_[index(step, layer, head)];
  }
  // Tokens in the cache after step `step`; 0 after the last one, which nobody reads.
  int64_t& cached(int step, int64_t layer, int64_t head) {
    return cached_[index(step, layer, head)];
  }
  int64_t cached(int step, int64_t layer, int64_t head) const {
    return cached_[index(step, layer, head)];
  }

 private:
  size_t index(int step, int64_t layer, int64_t head) const {
    return static_cast<size_t>((step * layers_ + layer) * heads_ + head);
  }

  int64_t layers_;
  int64_t heads_;
  std::vector<int64_t> attended_;
  std::vector<int64_t> cached_;
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Lengths for a whole generation. Memory is reserved from this and `plan` prints it.
  virtual Schedule schedule(const Geometry& geometry) const = 0;
};

}  // namespace nextscale
