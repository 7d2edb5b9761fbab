// SPDX-License-Identifier: Apache-2.0
// Asks the policy which candidates every head of a layer attends and keeps: computes the statistics
// that the policy needs and nothing else, remembers what its layers said of the step before, and
// merges evicted tokens where the policy wants that.
//
// One object serves one generation. Works in scratch memory of the caller; allocates nothing except
// in begin_scale(), and there only for policies whose layers share a budget.
#pragma once

#include <functional>
#include <vector>

#include "attention/candidates.h"
#include "attention/column_statistics.h"
#include "attention/merge_tokens.h"
#include "attention/token_weights.h"
#include "cache/kv_cache.h"
#include "core/context.h"
#include "core/geometry.h"
#include "core/stage_times.h"
#include "policies/policy.h"

namespace nextscale {

// What a generation attends with, and under which policy.
struct AttentionSetup {
  Geometry geometry;
  int64_t rows = 0;
  int64_t images = 1;  // row r belongs to image r % images; layers share budgets within an image
  DType kv_dtype = DType::kF32;  // of the current keys and values: f32 or bf16
  float softmax_scale = 1.0F;
  const Policy* policy = nullptr;  // borrowed
};

// Sees every selection of a head; called from several threads. For tests and inspection.
using SelectionObserver = std::function<void(int64_t row, const HeadStatistics&, const Selection&)>;

class HeadSelector {
 public:
  // What was chosen for one (row, kv head) of the current layer. Lies in scratch memory.
  struct Choice {
    std::span<int32_t> attend;   // room for every candidate
    std::span<int32_t> keep;     // room for every candidate
    std::span<float> scores;     // to be kept beside the tokens: one per candidate, or empty
    MergedTokens attend_merged;  // room for every attended token, or null
    MergedTokens keep_merged;    // room for every kept token, or null
    std::span<float> bias;       // room for every candidate, or empty
    int64_t num_attend = 0;
    int64_t num_keep = 0;
    bool attends_all = true;
    bool attends_merged = false;
    bool keeps_merged = false;
    bool has_bias = false;
  };

  HeadSelector(const AttentionSetup& setup, const Schedule& schedule, const KvCache& cache);

  const Needs& needs() const { return needs_; }
  void observe(SelectionObserver observer) { observer_ = std::move(observer); }
  // Adds the time of choosing to the stages from now on.
  void measure(StageTimes* times) { times_ = times; }

  void begin_scale(int scale);

  // One choice per head of `args`, from context.scratch; they stay valid until the caller releases
  // that memory. None if every head attends and keeps all there is.
  std::span<const Choice> choose(const Context& context, int64_t layer,
                                 const kernels::AttentionArgs& args);

  // Scratch memory that choose() takes.
  static size_t scratch_bytes(const Context& context, const AttentionSetup& setup,
                              const Schedule& schedule);

 private:
  // Memory of one thread.
  struct Workspace {
    ColumnStatistics columns;
    MergeSpace merge;
    WeightSpace weights;
    std::span<float> score;
    std::span<float> pooled;
    std::span<int32_t> order;
    std::span<float> value_norms;
    std::span<uint8_t> scale_ids;
    StageTimes times;  // of this thread, in the current call of choose()
  };

  bool is_last_scale() const { return scale_ + 1 == setup_.geometry.num_scales(); }
  int64_t wanted(int64_t scheduled, int64_t layer, int64_t row, int64_t candidates) const;
  void share_budgets(int64_t image);
  void take_memory(const Context& context);
  HeadStatistics describe(int64_t layer, size_t list, int64_t candidates) const;
  bool is_short(const HeadStatistics& statistics) const;
  bool has_work(int64_t layer, const kernels::AttentionArgs& args) const;
  void observe_attention(const kernels::KernelTable& kernels, const kernels::AttentionArgs& args,
                         size_t list, const Candidates& candidates, Workspace& workspace,
                         HeadStatistics* statistics);
  void look_at_tokens(const kernels::KernelTable& kernels, const Needs& needs, size_t list,
                      const Candidates& candidates, Workspace& workspace,
                      HeadStatistics* statistics) const;
  void choose_head(const kernels::KernelTable& kernels, int64_t layer, size_t list,
                   const kernels::AttentionArgs& args, Workspace& workspace);
  void merge(const kernels::KernelTable& kernels, Merge mode, const Candidates& candidates,
             Workspace& workspace, Choice& choice) const;
  void weigh_tokens(const kernels::KernelTable& kernels, std::span<const float> before,
                    const Candidates& candidates, Workspace& workspace, Choice& choice) const;
  void average_layer(int64_t layer);
  void book_time(double seconds);

  AttentionSetup setup_;
  Schedule schedule_;
  const KvCache& cache_;
  Needs needs_;
  ObservedRows observed_;
  int64_t max_candidates_;
  int64_t max_attended_;
  int64_t max_kept_;
  int scale_ = 0;
  SelectionObserver observer_;
  StageTimes* times_ = nullptr;
  std::vector<Choice> choices_;                       // [rows, kv_heads]
  std::vector<Workspace> workspaces_;                 // one per thread
  std::vector<LayerStatistics> heads_;                // [rows, kv_heads] of the current layer
  std::vector<std::vector<LayerStatistics>> layers_;  // [images][layers]; empty before step 0
  std::vector<std::vector<int64_t>> budgets_;         // [images][layers] of the current step
};

}  // namespace nextscale
