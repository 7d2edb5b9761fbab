// SPDX-License-Identifier: Apache-2.0
// Attention over short texts: keys and values of a head are packed once, then a few queries at a
// time are scored against all keys, so that the softmax sees whole rows. An element of the result
// depends on its own sequence alone.
#include "kernels/cpu/relative_attention.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/relative_attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// Columns of the last panel that belong to no key or feature become zeros.
void pack_head(const RelativeAttentionJob& job, const RelativeAttentionWorkspace& space) {
  const RelativeAttentionArgs& args = *job.args;
  const int64_t stride = args.heads * args.head_dim;
  const int64_t start = job.first * stride + job.head * args.head_dim;
  std::fill_n(space.keys, padded_to_panels(job.tokens) * args.head_dim, 0.0F);
  std::fill_n(space.values, padded_to_panels(args.head_dim) * job.tokens, 0.0F);
  for (int64_t token = 0; token < job.tokens; ++token) {
    const float* key = args.k + start + token * stride;
    const float* value = args.v + start + token * stride;
    float* key_column =
        space.keys + token / kPanelColumns * args.head_dim * kPanelColumns + token % kPanelColumns;
    for (int64_t feature = 0; feature < args.head_dim; ++feature) {
      key_column[feature * kPanelColumns] = key[feature];
    }
    for (int64_t feature = 0; feature < args.head_dim; feature += kPanelColumns) {
      std::copy_n(value + feature, std::min(kPanelColumns, args.head_dim - feature),
                  space.values + feature * job.tokens + token * kPanelColumns);
    }
  }
}

// The softmax weights of one query instead of its scores; returns their sum.
float weigh_query(const RelativeAttentionJob& job, int64_t query, float* scores) {
  const RelativeAttentionArgs& args = *job.args;
  const float* bias = args.bias + job.head * (2 * args.reach + 1) + args.reach - query;
  for_each_vector(job.tokens, [&](auto d, int64_t key) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, scores + key), hn::LoadU(d, bias + key)), d, scores + key);
  });
  return weigh(scores, job.tokens, highest_of(scores, job.tokens));
}

template <class Out>
HWY_INLINE void write_query(const float* sums, float total, int64_t head_dim, Out* out) {
  for_each_vector(head_dim, [&](auto d, int64_t feature) HWY_ATTR {
    store_f32_as(d, hn::Div(hn::LoadU(d, sums + feature), hn::Set(d, total)), out + feature);
  });
}

// Queries [first, first + kRows) of the sequence.
template <int kRows>
void attend_queries(const RelativeAttentionJob& job, const RelativeAttentionWorkspace& space,
                    int64_t first) {
  const RelativeAttentionArgs& args = *job.args;
  const int64_t stride = args.heads * args.head_dim;
  const int64_t element = (job.first + first) * stride + job.head * args.head_dim;
  const int64_t score_stride = padded_to_panels(job.tokens);
  const int64_t out_stride = padded_to_panels(args.head_dim);
  for (int64_t key = 0; key < job.tokens; key += kPanelColumns) {
    product_tile<kRows>(args.q + element, stride, space.keys + key * args.head_dim, args.head_dim,
                        kPanelColumns, 1.0F, space.scores + key, score_stride);
  }
  float totals[kRows];
  for (int64_t row = 0; row < kRows; ++row) {
    totals[row] = weigh_query(job, first + row, space.scores + row * score_stride);
  }
  for (int64_t feature = 0; feature < args.head_dim; feature += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, padded_head_dim(args.head_dim) - feature);
    product_tile<kRows>(space.scores, score_stride, space.values + feature * job.tokens, job.tokens,
                        columns, 1.0F, space.out + feature, out_stride);
  }
  for (int64_t row = 0; row < kRows; ++row) {
    const float* sums = space.out + row * out_stride;
    if (args.out_dtype == DType::kBF16) {
      write_query(sums, totals[row], args.head_dim,
                  static_cast<BFloat16*>(args.out) + element + row * stride);
    } else {
      write_query(sums, totals[row], args.head_dim,
                  static_cast<float*>(args.out) + element + row * stride);
    }
  }
}

void run_relative_attention(const RelativeAttentionJob& job,
                            const RelativeAttentionWorkspace& space) {
  pack_head(job, space);
  for_each_tile(job.tokens, [&](auto rows, int64_t first)
                                HWY_ATTR { attend_queries<rows()>(job, space, first); });
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(run_relative_attention);

// Cuts one worker's workspace from `memory`; with null memory only counts the floats.
size_t lay_out_relative(int64_t head_dim, int64_t longest, float* memory,
                        RelativeAttentionWorkspace& space) {
  int64_t used = 0;
  const auto take = [&](int64_t count) {
    float* result = memory == nullptr ? nullptr : memory + used;
    used += (count + kVectorFloats - 1) / kVectorFloats * kVectorFloats;
    return result;
  };
  space.keys = take(padded_to_panels(longest) * head_dim);
  space.values = take(padded_to_panels(head_dim) * longest);
  space.scores = take(kTileRows * padded_to_panels(longest));
  space.out = take(kTileRows * padded_to_panels(head_dim));
  return static_cast<size_t>(used);
}

}  // namespace

size_t relative_attention_scratch(const Context& context, const RelativeAttentionArgs& shape,
                                  int64_t longest) {
  RelativeAttentionWorkspace space;
  const size_t floats = lay_out_relative(shape.head_dim, longest, nullptr, space);
  return Arena::rounded(static_cast<size_t>(context.num_threads) * floats * sizeof(float));
}

void relative_attention(const Context& context, const RelativeAttentionArgs& args) {
  const auto num_sequences = static_cast<int64_t>(args.starts.size()) - 1;
  int64_t longest = 0;
  for (size_t sequence = 1; sequence < args.starts.size(); ++sequence) {
    longest = std::max(longest, args.starts[sequence] - args.starts[sequence - 1]);
  }
  const ArenaScope scope(*context.scratch);
  RelativeAttentionWorkspace counted;
  const size_t worker_floats = lay_out_relative(args.head_dim, longest, nullptr, counted);
  const auto memory =
      context.scratch->take<float>(static_cast<size_t>(context.num_threads) * worker_floats);
  parallel_for(context.num_threads, num_sequences * args.heads, [&](int64_t index, int worker) {
    const auto sequence = static_cast<size_t>(index / args.heads);
    RelativeAttentionJob job{.args = &args, .first = args.starts[sequence]};
    job.tokens = args.starts[sequence + 1] - job.first;
    job.head = index % args.heads;
    RelativeAttentionWorkspace space;
    lay_out_relative(args.head_dim, longest,
                     memory.data() + static_cast<size_t>(worker) * worker_floats, space);
    HWY_DYNAMIC_DISPATCH(run_relative_attention)(job, space);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
