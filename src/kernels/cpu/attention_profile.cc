// SPDX-License-Identifier: Apache-2.0
// How attention is spread over the keys, without ever holding it: a few queries at a time are
// multiplied with all keys of their head, which lie packed in the workspace, and added up.
//
// A head's result depends on its own queries and keys alone: one job takes a whole query head, and
// the order of every sum is fixed by the numbers of queries and keys.
#include <algorithm>
#include <functional>

#include "core/parallel.h"
#include "kernels/cpu/attention_job.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_profile.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention_tiles-inl.h"

// What every instruction set shares.
#ifndef NEXTSCALE_KERNELS_CPU_ATTENTION_PROFILE_JOB_
#define NEXTSCALE_KERNELS_CPU_ATTENTION_PROFILE_JOB_
namespace nextscale::kernels::cpu {

// Queries whose attention is held at once. A block of true size (10521 keys) stays near the cores.
constexpr int64_t kProfileQueries = 24;

struct ProfileJob {
  const AttentionProfileArgs* args = nullptr;
  int64_t index = 0;  // row * query_heads + query head
};

// Memory of one worker.
struct ProfileWorkspace {
  float* keys = nullptr;    // [panels, head_dim, kPanelKeys]
  float* scores = nullptr;  // [kProfileQueries, stride]
  int64_t stride = 0;
  float* largest = nullptr;   // [largest_capacity + kVectorFloats]
  double* sums = nullptr;     // [keys] of columns
  double* squares = nullptr;  // [keys]
};

// Candidates for the largest weights that are gathered before the smaller ones are dropped.
inline int64_t largest_capacity(int64_t num_top) { return 4 * num_top; }

}  // namespace nextscale::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

HWY_INLINE double sum_in_double(const float* values, int64_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  auto sum = hn::Zero(d);
  int64_t at = 0;
  for (; at + lanes(d) <= count; at += lanes(d)) {
    sum = hn::Add(sum, hn::PromoteTo(d, hn::LoadU(narrow, values + at)));
  }
  double total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; at < count; ++at) total += static_cast<double>(values[at]);
  return total;
}

// Sum of the num_top largest values. Gathers what exceeds the smallest of the largest so far.
double sum_of_largest(const float* values, int64_t count, int64_t num_top, float* largest) {
  if (count <= num_top) return sum_in_double(values, count);
  const TileTag d;
  const int64_t capacity = largest_capacity(num_top);
  int64_t held = 0;
  float threshold = -1.0F;  // below every weight
  const auto drop_smaller = [&] {
    if (held <= num_top) return;
    std::nth_element(largest, largest + num_top - 1, largest + held, std::greater<>());
    held = num_top;
    threshold = largest[num_top - 1];
  };
  int64_t at = 0;
  for (; at + lanes(d) <= count; at += lanes(d)) {
    const auto value = hn::LoadU(d, values + at);
    const auto is_larger = hn::Gt(value, hn::Set(d, threshold));
    if (hn::AllFalse(d, is_larger)) continue;
    held += static_cast<int64_t>(hn::CompressStore(value, is_larger, d, largest + held));
    if (held > capacity - lanes(d)) drop_smaller();
  }
  for (; at < count; ++at) {
    if (!(values[at] > threshold)) continue;
    largest[held++] = values[at];
    if (held > capacity) drop_smaller();
  }
  drop_smaller();
  return sum_in_double(largest, held);
}

void score_block(const AttentionArgs& args, const ProfileWorkspace& space, int64_t num_keys,
                 const float* q, int64_t count) {
  for (int64_t key = 0; key < num_keys; key += kPanelKeys) {
    const float* panel = space.keys + key * args.head_dim;
    for_each_tile(count, [&](auto rows, int64_t row) HWY_ATTR {
      product_tile<rows()>(q + row * args.head_dim, args.head_dim, panel, args.head_dim, kPanelKeys,
                           args.softmax_scale, space.scores + row * space.stride + key,
                           space.stride);
    });
  }
}

// Adds the rows' weights, divided by their totals, to the columns.
void add_columns(const ProfileWorkspace& space, int64_t num_keys, int64_t count,
                 const double* inverse_totals) {
  const hn::ScalableTag<double> whole;
  const auto add = [&](auto d, int64_t key) HWY_ATTR {
    const hn::Rebind<float, decltype(d)> narrow;
    auto sum = hn::LoadU(d, space.sums + key);
    auto square = hn::LoadU(d, space.squares + key);
    for (int64_t row = 0; row < count; ++row) {
      const auto raw = hn::LoadU(narrow, space.scores + row * space.stride + key);
      const auto weight = hn::Mul(hn::PromoteTo(d, raw), hn::Set(d, inverse_totals[row]));
      sum = hn::Add(sum, weight);
      square = hn::MulAdd(weight, weight, square);
    }
    hn::StoreU(sum, d, space.sums + key);
    hn::StoreU(square, d, space.squares + key);
  };
  int64_t key = 0;
  for (; key + lanes(whole) <= num_keys; key += lanes(whole)) add(whole, key);
  for (; key < num_keys; ++key) add(hn::CappedTag<double, 1>(), key);
}

double total_variance(const ProfileWorkspace& space, int64_t num_keys, double queries) {
  double total = 0.0;
  for (int64_t key = 0; key < num_keys; ++key) {
    const double mean = space.sums[key] / queries;
    total += std::max(space.squares[key] / queries - mean * mean, 0.0);
  }
  return total;
}

// Turns one query's scores into weights and adds them to the head's mass and top; returns one
// divided by the sum of the weights.
double add_query(const AttentionProfileArgs& args, const ProfileWorkspace& space, float* scores,
                 double* mass, double* top) {
  const auto num_scales = static_cast<int64_t>(args.scale_ends.size());
  const int64_t* ends = args.scale_ends.data();
  weigh(scores, ends[num_scales - 1], highest_of(scores, ends[num_scales - 1]));
  double sums[kMaxProfileScales];
  double total = 0.0;
  for (int64_t scale = 0; scale < num_scales; ++scale) {
    const int64_t first = scale == 0 ? 0 : ends[scale - 1];
    total += sums[scale] = sum_in_double(scores + first, ends[scale] - first);
  }
  const double inverse = 1.0 / total;
  for (int64_t scale = 0; scale < num_scales; ++scale) mass[scale] += sums[scale] * inverse;
  if (num_scales > 1) {
    *top += inverse * sum_of_largest(scores, ends[num_scales - 2], args.num_top, space.largest);
  }
  return inverse;
}

void profile_head(const ProfileJob& job, const ProfileWorkspace& space) {
  const AttentionProfileArgs& args = *job.args;
  const AttentionArgs& attention = *args.attention;
  const auto num_scales = static_cast<int64_t>(args.scale_ends.size());
  const int64_t num_keys = args.scale_ends.back();
  const int64_t group = attention.query_heads / attention.kv_heads;
  const AttentionHead& head = attention.heads[static_cast<size_t>(job.index / group)];
  pack_keys(head, attention.head_dim, 0, num_keys, space.keys);
  double* mass = args.mass + job.index * num_scales;
  double* top = args.top + job.index;
  std::fill_n(mass, num_scales, 0.0);
  *top = 0.0;
  if (args.variance != nullptr) {
    std::fill_n(space.sums, num_keys, 0.0);
    std::fill_n(space.squares, num_keys, 0.0);
  }
  const float* q = attention.q + job.index * attention.queries * attention.head_dim;
  double inverse_totals[kProfileQueries];
  for (int64_t first = 0; first < attention.queries; first += kProfileQueries) {
    const int64_t count = std::min(kProfileQueries, attention.queries - first);
    score_block(attention, space, num_keys, q + first * attention.head_dim, count);
    for (int64_t row = 0; row < count; ++row) {
      inverse_totals[row] = add_query(args, space, space.scores + row * space.stride, mass, top);
    }
    if (args.variance != nullptr) add_columns(space, num_keys, count, inverse_totals);
  }
  const auto queries = static_cast<double>(attention.queries);
  for (int64_t scale = 0; scale < num_scales; ++scale) mass[scale] /= queries;
  *top /= queries;
  if (args.variance != nullptr) {
    args.variance[job.index] = total_variance(space, num_keys, queries);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(profile_head);

// Cuts one worker's workspace from `memory`; with null memory only counts bytes.
size_t lay_out(int64_t num_keys, int64_t head_dim, std::byte* memory, ProfileWorkspace& space) {
  size_t used = 0;
  const auto take = [&](auto*& part, int64_t count) {
    using Element = std::remove_reference_t<decltype(*part)>;
    part = memory == nullptr ? nullptr : reinterpret_cast<Element*>(memory + used);
    used += Arena::rounded(static_cast<size_t>(count) * sizeof(Element));
  };
  const int64_t padded = num_panels(num_keys) * kPanelKeys;
  space.stride = padded + kVectorFloats;  // the excess keeps rows off the same cache sets
  take(space.keys, padded * head_dim);
  take(space.scores, kProfileQueries * space.stride);
  take(space.largest, largest_capacity(kMaxProfileTop) + kVectorFloats);
  take(space.sums, num_keys);
  take(space.squares, num_keys);
  return used;
}

}  // namespace

size_t attention_profile_scratch(const Context& context, const AttentionArgs& shape,
                                 int64_t max_keys) {
  ProfileWorkspace space;
  return static_cast<size_t>(context.num_threads) *
         lay_out(max_keys, shape.head_dim, nullptr, space);
}

void attention_profile(const Context& context, const AttentionProfileArgs& args) {
  const ArenaScope scope(*context.scratch);
  const AttentionArgs& attention = *args.attention;
  const int64_t num_keys = args.scale_ends.back();
  ProfileWorkspace counted;
  const size_t worker_bytes = lay_out(num_keys, attention.head_dim, nullptr, counted);
  auto* memory = static_cast<std::byte*>(
      context.scratch->take_bytes(static_cast<size_t>(context.num_threads) * worker_bytes));
  parallel_for(context.num_threads, attention.rows * attention.query_heads,
               [&](int64_t index, int worker) {
                 ProfileWorkspace space;
                 lay_out(num_keys, attention.head_dim,
                         memory + static_cast<size_t>(worker) * worker_bytes, space);
                 HWY_DYNAMIC_DISPATCH(profile_head)({.args = &args, .index = index}, space);
               });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
