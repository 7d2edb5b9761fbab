// SPDX-License-Identifier: Apache-2.0
// What cache policies ask of a head's candidates. Queries (or rows to be placed) lie across the
// lanes of a packed panel while keys go by as they lie in memory, so keys are never packed, the
// softmax over keys runs down the lanes, and a column's statistics are sums over one row of scores.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/column_workspace.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/candidates.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Keys whose weights are added up before they go to the total: keeps the error of long sums small.
constexpr int64_t kSumBlock = 64;

// ln of the smallest probability that entropies tell from 0 (1e-12, MEDA's official code).
constexpr float kLogSmallest = -27.6310211F;

// Rows of x into a panel: row `list[first + i]` of x, or row first + i without a list.
void pack_rows(const float* x, const int32_t* list, int64_t num_rows, int64_t width, int64_t first,
               int64_t count, float* panel) {
  const KvSegment segment{.k = x, .v = nullptr, .tokens = num_rows};
  const AttentionHead head{
      .cached = {}, .current = segment, .attend = list, .num_attend = num_rows};
  pack_keys(head, width, first, count, panel);
}

// `count` keys from `token` on, as f32.
const float* keys_as_f32(const KvSegment& segment, int64_t head_dim, int64_t token, int64_t count,
                         float* rows) {
  if (segment.dtype == DType::kF32) {
    return static_cast<const float*>(segment.k) + token * head_dim;
  }
  with_element_type(segment, [&](auto element) HWY_ATTR {
    for (int64_t row = 0; row < count; ++row) {
      const auto key = key_at<decltype(element)>({&segment, token + row}, head_dim);
      for_each_vector(head_dim, [&](auto d, int64_t feature) HWY_ATTR {
        hn::StoreU(key.load(d, feature), d, rows + row * head_dim + feature);
      });
    }
  });
  return rows;
}

HWY_INLINE float sum_of(TileVector lanes_of) {
  const TileTag d;
  return hn::GetLane(hn::SumOfLanes(d, lanes_of));
}

// ---- Column statistics --------------------------------------------------------------------------

// Scores of the panel's queries with a segment's keys, and the highest of each query.
void score_segment(const ColumnStatisticsArgs& args, const ColumnWorkspace& space,
                   const QueryPanel& panel, const KvSegment& segment, float* scores) {
  const TileTag d;
  for_each_tile(segment.tokens, [&](auto rows, int64_t token) HWY_ATTR {
    const float* keys = keys_as_f32(segment, args.head_dim, token, rows(), space.rows);
    float* out = scores + token * space.stride;
    product_tile<rows()>(keys, args.head_dim, space.panel, args.head_dim, panel.columns,
                         args.softmax_scale, out, space.stride);
    for (int64_t column = 0; column < panel.columns; column += lanes(d)) {
      auto highest = hn::Load(d, space.highest + column);
      for (int row = 0; row < rows(); ++row) {
        highest = hn::Max(highest, hn::Load(d, out + row * space.stride + column));
      }
      hn::Store(highest, d, space.highest + column);
    }
  });
}

// Adds up exp(score - highest) of every query, and stores these weights in place of the scores
// unless the scores are needed again.
template <bool kStoreWeights>
void weigh_scores(const ColumnWorkspace& space, const QueryPanel& panel, int64_t candidates) {
  const TileTag d;
  for (int64_t column = 0; column < panel.columns; column += lanes(d)) {
    const auto highest = hn::Load(d, space.highest + column);
    auto total = hn::Zero(d);
    for (int64_t first = 0; first < candidates; first += kSumBlock) {
      auto sum = hn::Zero(d);
      for (int64_t key = first; key < std::min(candidates, first + kSumBlock); ++key) {
        float* score = space.scores + key * space.stride + column;
        const auto weight = exp_of(d, hn::Sub(hn::Load(d, score), highest));
        sum = hn::Add(sum, weight);
        if constexpr (kStoreWeights) hn::Store(weight, d, score);
      }
      total = hn::Add(total, sum);
    }
    hn::Store(total, d, space.total + column);
  }
  for (int64_t query = 0; query < panel.columns; ++query) {
    space.factor[query] = space.present[query] / space.total[query];
    space.total[query] = std::log(space.total[query]);
  }
}

// Adds the panel's part of sum (p - mean)^2 to what earlier panels gave (Chan, Golub, LeVeque:
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
void add_spread(const ColumnWorkspace& space, const QueryPanel& panel, const float* row,
                int64_t candidate, float panel_sum) {
  const TileTag d;
  const auto count = static_cast<double>(panel.count);
  const auto mean = hn::Set(d, panel_sum / static_cast<float>(panel.count));
  auto squares = hn::Zero(d);
  for (int64_t column = 0; column < panel.columns; column += lanes(d)) {
    const auto difference =
        hn::Mul(hn::Sub(hn::Load(d, row + column), mean), hn::Load(d, space.present + column));
    squares = hn::MulAdd(difference, difference, squares);
  }
  space.spreads[candidate] += static_cast<double>(sum_of(squares));
  if (panel.before == 0) return;
  const auto before = static_cast<double>(panel.before);
  const double shift = static_cast<double>(panel_sum) / count - space.sums[candidate] / before;
  space.spreads[candidate] += shift * shift * before * count / (before + count);
}

// Adds the panel's rows of A to the statistics of every column.
template <bool kEntropies>
void add_columns(const ColumnStatisticsArgs& args, const ColumnWorkspace& space,
                 const QueryPanel& panel) {
  const TileTag d;
  const auto log_smallest = hn::Set(d, kLogSmallest);
  for (int64_t candidate = 0; candidate < args.candidates(); ++candidate) {
    float* row = space.scores + candidate * space.stride;
    auto sum = hn::Zero(d);
    auto entropy = hn::Zero(d);
    for (int64_t column = 0; column < panel.columns; column += lanes(d)) {
      auto value = hn::Load(d, row + column);
      const auto factor = hn::Load(d, space.factor + column);
      if constexpr (kEntropies) {
        const auto exponent = hn::Sub(value, hn::Load(d, space.highest + column));
        const auto logarithm = hn::Sub(exponent, hn::Load(d, space.total + column));
        value = hn::Mul(exp_of(d, exponent), factor);
        entropy = hn::NegMulAdd(value, hn::Max(logarithm, log_smallest), entropy);
      } else {
        value = hn::Mul(value, factor);
      }
      sum = hn::Add(sum, value);
      if (args.variances != nullptr) hn::Store(value, d, row + column);
    }
    const float panel_sum = sum_of(sum);
    if (args.variances != nullptr) add_spread(space, panel, row, candidate, panel_sum);
    if constexpr (kEntropies) space.entropies[candidate] += static_cast<double>(sum_of(entropy));
    space.sums[candidate] += static_cast<double>(panel_sum);
  }
}

void add_panel(const ColumnStatisticsArgs& args, const ColumnWorkspace& space, const float* q,
               const QueryPanel& panel) {
  pack_rows(q, args.observed.data(), args.queries, args.head_dim, panel.before, panel.count,
            space.panel);
  for (int64_t column = 0; column < panel.columns; ++column) {
    space.present[column] = column < panel.count ? 1.0F : 0.0F;
    space.factor[column] = space.present[column];
    space.highest[column] = -HUGE_VALF;
  }
  score_segment(args, space, panel, args.cached, space.scores);
  score_segment(args, space, panel, args.current, space.scores + args.cached.tokens * space.stride);
  if (args.entropies != nullptr) {
    weigh_scores<false>(space, panel, args.candidates());
    return add_columns<true>(args, space, panel);
  }
  if (args.softmax) weigh_scores<true>(space, panel, args.candidates());
  add_columns<false>(args, space, panel);
}

// Adds what one query head has collected, as its share of the group.
void add_head(const ColumnStatisticsArgs& args, const ColumnWorkspace& space) {
  const double share = 1.0 / static_cast<double>(args.group);
  const auto divisor = static_cast<double>(std::max<size_t>(args.observed.size() - 1, 1));
  for (int64_t candidate = 0; candidate < args.candidates(); ++candidate) {
    args.sums[candidate] += static_cast<float>(share * space.sums[candidate]);
    if (args.variances != nullptr) {
      args.variances[candidate] += static_cast<float>(share * space.spreads[candidate] / divisor);
    }
    if (args.entropies != nullptr) {
      args.entropies[candidate] += static_cast<float>(share * space.entropies[candidate]);
    }
  }
}

void gather_columns(const ColumnStatisticsArgs& args, const ColumnWorkspace& space) {
  const auto observed = static_cast<int64_t>(args.observed.size());
  for (float* values : {args.sums, args.variances, args.entropies}) {
    if (values != nullptr) std::fill_n(values, args.candidates(), 0.0F);
  }
  for (int64_t member = 0; member < args.group; ++member) {
    for (double* values : {space.sums, space.spreads, space.entropies}) {
      std::fill_n(values, args.candidates(), 0.0);
    }
    const float* q = args.q + member * args.queries * args.head_dim;
    for (QueryPanel panel; panel.before < observed; panel.before += kPanelColumns) {
      panel.count = std::min(kPanelColumns, observed - panel.before);
      panel.columns = whole_vectors(panel.count);
      add_panel(args, space, q, panel);
    }
    add_head(args, space);
  }
}

// ---- Lengths of values --------------------------------------------------------------------------

template <class Kv>
HWY_INLINE float length_of(const KvRow<Kv>& value, int64_t head_dim) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> single;
  auto squares = hn::Zero(d);
  float tail = 0.0F;
  int64_t feature = 0;
  for (; feature + lanes(d) <= head_dim; feature += lanes(d)) {
    const auto element = value.load(d, feature);
    squares = hn::MulAdd(element, element, squares);
  }
  for (; feature < head_dim; ++feature) {
    const float element = hn::GetLane(value.load(single, feature));
    tail += element * element;
  }
  return std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares)) + tail);
}

void segment_lengths(const KvSegment& segment, int64_t head_dim, float* out) {
  with_element_type(segment, [&](auto element) HWY_ATTR {
    for (int64_t token = 0; token < segment.tokens; ++token) {
      out[token] = length_of(value_at<decltype(element)>({&segment, token}, head_dim), head_dim);
    }
  });
}

// ---- Nearest rows -------------------------------------------------------------------------------

// The best target so far of every row of the panel, and its product.
struct NearestSoFar {
  float* products = nullptr;  // [kPanelColumns]
  float* targets = nullptr;   // [kPanelColumns] numbers, exact in f32
};

// Lower numbers come first and only a larger product replaces them.
template <int kRows>
HWY_INLINE void renew_nearest(const float* products, int64_t first_target,
                              const NearestSoFar& nearest) {
  const TileTag d;
  for (int64_t column = 0; column < kPanelColumns; column += lanes(d)) {
    auto best = hn::Load(d, nearest.products + column);
    auto target = hn::Load(d, nearest.targets + column);
    for (int row = 0; row < kRows; ++row) {
      const auto product = hn::Load(d, products + row * kPanelColumns + column);
      const auto is_better = hn::Gt(product, best);
      best = hn::IfThenElse(is_better, product, best);
      target =
          hn::IfThenElse(is_better, hn::Set(d, static_cast<float>(first_target + row)), target);
    }
    hn::Store(best, d, nearest.products + column);
    hn::Store(target, d, nearest.targets + column);
  }
}

void nearest_rows(const NearestArgs& args, float* panel) {
  float* products = panel + kPanelColumns * args.width;
  const NearestSoFar nearest{.products = products + kTileRows * kPanelColumns,
                             .targets = products + (kTileRows + 1) * kPanelColumns};
  for (int64_t first = 0; first < args.count; first += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, args.count - first);
    pack_rows(args.x, nullptr, args.count, args.width, first, count, panel);
    std::fill_n(nearest.products, kPanelColumns, -HUGE_VALF);
    std::fill_n(nearest.targets, kPanelColumns, 0.0F);
    for_each_tile(args.num_targets, [&](auto rows, int64_t target) HWY_ATTR {
      product_tile<rows()>(args.targets + target * args.width, args.width, panel, args.width,
                           kPanelColumns, 1.0F, products, kPanelColumns);
      renew_nearest<rows()>(products, target, nearest);
    });
    for (int64_t row = 0; row < count; ++row) {
      args.nearest[first + row] = static_cast<int32_t>(nearest.targets[row]);
      args.products[first + row] = nearest.products[row];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(gather_columns);
HWY_EXPORT(segment_lengths);
HWY_EXPORT(nearest_rows);

// Cuts the workspace from `memory`; with null memory only counts. Returns bytes.
size_t lay_out(int64_t candidates, int64_t observed, int64_t head_dim, std::byte* memory,
               ColumnWorkspace& space) {
  size_t used = 0;
  const auto take = [&](auto*& place, int64_t count) {
    using Element = std::remove_reference_t<decltype(*place)>;
    if (memory != nullptr) place = static_cast<Element*>(static_cast<void*>(memory + used));
    used += Arena::rounded(static_cast<size_t>(count) * sizeof(Element));
  };
  space.stride = std::min(whole_vectors(observed), kPanelColumns);
  take(space.panel, kPanelColumns * head_dim);
  take(space.rows, kTileRows * head_dim);
  take(space.highest, kPanelColumns);
  take(space.total, kPanelColumns);
  take(space.factor, kPanelColumns);
  take(space.present, kPanelColumns);
  take(space.sums, candidates);
  take(space.spreads, candidates);
  take(space.entropies, candidates);
  take(space.scores, candidates * space.stride);
  return used;
}

}  // namespace

size_t column_statistics_workspace(int64_t candidates, int64_t observed, int64_t head_dim) {
  ColumnWorkspace space;
  return lay_out(candidates, observed, head_dim, nullptr, space);
}

void column_statistics(const ColumnStatisticsArgs& args) {
  ColumnWorkspace space;
  lay_out(args.candidates(), static_cast<int64_t>(args.observed.size()), args.head_dim,
          args.workspace.data(), space);
  HWY_DYNAMIC_DISPATCH(gather_columns)(args, space);
}

void value_lengths(const KvSegment& segment, int64_t head_dim, float* out) {
  HWY_DYNAMIC_DISPATCH(segment_lengths)(segment, head_dim, out);
}

size_t nearest_workspace(int64_t width) {
  return static_cast<size_t>(kPanelColumns * (width + kTileRows + 2)) * sizeof(float);
}

void nearest(const NearestArgs& args) {
  HWY_DYNAMIC_DISPATCH(nearest_rows)
  (args, static_cast<float*>(static_cast<void*>(args.workspace.data())));
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
