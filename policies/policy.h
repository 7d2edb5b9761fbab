// SPDX-License-Identifier: Apache-2.0
// What a cache compression method is. Read this first; then any file beside it.
//
// A policy answers three questions: which statistics it needs, how many tokens each (step, layer,
// kv head) attends and keeps, and which. It sees lengths and statistics, never keys, values or the
// cache; it is pure: same input, same answer. What must survive between steps (accumulated scores,
// layer statistics) is handed to it by the engine.
//
// The engine reserves memory from schedule(), computes what needs() names and nothing else, calls
// select() where fewer tokens are wanted than there are, and the cache carries the answer out.
//
// A new policy is one file here, one row in registry.cc and one test.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

// Tokens attended and cached, per step, layer and kv head.
class Schedule {
 public:
  Schedule(int steps, int64_t layers, int64_t kv_heads)
      : steps_(steps),
        layers_(layers),
        heads_(kv_heads),
        attended_(static_cast<size_t>(steps * layers * kv_heads)),
        cached_(attended_.size()),
        held_limits_(static_cast<size_t>(steps * layers), std::numeric_limits<int64_t>::max()) {}

  int steps() const { return steps_; }

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

  // Tokens of one row in all layers and heads right after `layer` of `step`: layers up to it hold
  // what this step keeps, later ones what the step before kept.
  int64_t held(int step, int64_t layer) const;
  // The most of them at any time: what memory is reserved for.
  int64_t most_held() const;
  // Where lengths are upper bounds, all layers together may hold less than their sum.
  void limit_held(int step, int64_t layer, int64_t tokens) {
    held_limits_[static_cast<size_t>(step * layers_ + layer)] = tokens;
  }

 private:
  size_t index(int step, int64_t layer, int64_t head) const {
    return static_cast<size_t>((step * layers_ + layer) * heads_ + head);
  }

  int steps_;
  int64_t layers_;
  int64_t heads_;
  std::vector<int64_t> attended_;
  std::vector<int64_t> cached_;
  std::vector<int64_t> held_limits_;  // [steps, layers]
};

// Queries of the current scale whose attention is looked at.
enum class ObservedQueries {
  kNone,
  kUniform,  // spread evenly over the scale (uniform_query)
  kFirst,    // the beginning of the scale in raster order
  kLast,     // the end of the scale in raster order
  kGrid,     // the middles of a square grid of patches (grid_query); as kLast where none fits
  kAll,
};

// What column_sums add up over the observed queries.
enum class ObservedValues {
  kAttention,  // softmax over the candidates
  kLogits,     // what softmax is taken of
};

// How evicted tokens go into kept ones (methods.md 2.5).
enum class Merge { kNone, kAverage, kPivot, kWeighted };

// Statistics of a layer, averaged over the rows of an image and the heads; the policy says which.
using LayerStatistics = std::array<double, 2>;

// What the engine has to provide. Everything defaults to nothing.
struct Needs {
  ObservedQueries queries = ObservedQueries::kNone;
  int64_t num_queries = 0;  // at most; kAll does not read it
  ObservedValues observed = ObservedValues::kAttention;
  bool column_variances = false;  // beside the sums, which come with any query; not of logits
  bool column_entropies = false;  // likewise
  bool value_norms = false;       // lengths of the cached values
  bool scale_ids = false;         // source scales
  bool accumulated = false;       // sums over all steps so far, for every cached token
  bool layer_budgets = false;     // layer_statistics() and layer_budgets() are called in every step
  bool may_merge = false;         // select() may ask for merging
  // Tokens stand for several: those that are not attended or not kept give their weight, and their
  // value by it, to the most similar one that is. Not together with `accumulated` or merging.
  bool weighs_tokens = false;
  bool selects = false;  // select() is ever called

  bool attention() const { return queries != ObservedQueries::kNone; }
  // Whether the cache holds a number beside every token.
  bool token_scores() const { return accumulated || weighs_tokens; }
};

// What is known of the candidates of one (layer, row, kv head): its cached tokens in order of
// generation, then those of the current scale. Spans that needs() does not name are empty. With
// grouped queries, attention is averaged over the query heads of the group.
struct HeadStatistics {
  int step = 0;
  int num_steps = 0;
  int64_t layer = 0;
  int64_t head = 0;
  int64_t num_candidates = 0;  // m
  int64_t num_current = 0;     // the last of them
  int64_t num_queries = 0;     // observed ones; below n
  int64_t num_attend = 0;      // wanted, at most m
  int64_t num_keep = 0;        // wanted, at most m; 0 at the last step

  std::span<const uint8_t> scale_ids = {};  // [m] source scale
  std::span<const float> value_norms = {};  // [m]
  // With A[n, m] the softmax of the observed queries over all candidates, or their logits:
  std::span<const float> column_sums = {};       // [m] sum_i A[i, j]
  std::span<const float> column_variances = {};  // [m] variance over i, divisor n - 1 (0 if n = 1)
  std::span<const float> column_entropies = {};  // [m] -sum_i A[i, j] ln A[i, j]
  std::span<const float> accumulated = {};       // [m] column_sums added up over the steps
};

// The answer of select(), in memory of the caller: every span has room for m elements.
struct Selection {
  std::span<int32_t> attend = {};  // ascending candidate positions; the first num_attend count
  std::span<int32_t> keep = {};    // likewise
  int64_t num_attend = 0;
  int64_t num_keep = 0;
  Merge merge = Merge::kNone;  // of all other candidates into `attend`; needs keep == attend or 0

  std::span<float> score = {};    // [m] filled with NaN; a policy writes the scores it compares
  std::span<float> pooled = {};   // [m] workspace
  std::span<int32_t> order = {};  // [m] workspace
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual Needs needs() const { return {}; }
  // What one head needs of that, where heads differ.
  virtual Needs head_needs(int64_t /*layer*/, int64_t /*head*/) const { return needs(); }
  // Lengths for a whole generation: exact, or upper bounds with layer_budgets. Memory is reserved
  // from this and `plan` prints it.
  virtual Schedule schedule(const Geometry& geometry) const = 0;
  // Called if fewer tokens are to be attended or kept than there are. Allocates nothing, throws
  // nothing.
  virtual void select(const HeadStatistics& /*statistics*/, Selection& /*selection*/) const {}

  // The two calls of policies whose layers share one budget. What this step's attention says of
  // the layer, seen from one head:
  virtual LayerStatistics layer_statistics(const HeadStatistics& /*statistics*/) const {
    return {};
  }
  // Tokens per layer for the next step, from the averages of the step before (empty at step 0) and
  // the candidates of each layer.
  virtual std::vector<int64_t> layer_budgets(std::span<const LayerStatistics> /*previous*/,
                                             std::span<const int64_t> candidates,
                                             int64_t /*num_current*/, int64_t /*sequence*/) const {
    return {candidates.begin(), candidates.end()};
  }
};

}  // namespace nextscale
