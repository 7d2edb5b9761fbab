// SPDX-License-Identifier: Apache-2.0
// Attention without ever holding all scores: blocks of keys are packed and multiplied while a row's
// highest score, sum of weights and weighted sum of values are kept up to date (Milakov,
// Gimelshein: "Online normalizer calculation for softmax", 2018; Dao et al.: "FlashAttention",
// 2022).
//
// A row of the result depends on its query and the list of its keys alone: the order of every sum
// is fixed by the number of keys.
//
// Where the current scale's keys are bf16 and the processor multiplies such pairs, both products
// take bf16 inputs (queries and weights are rounded) and add up in f32.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/attention_job.h"
#include "kernels/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/attention_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nextscale::kernels::cpu {
namespace HWY_NAMESPACE {

// A block of keys as it lies packed in the workspace.
struct KeyBlock {
  int64_t first = 0;
  int64_t count = 0;
};

// Scores of queries [first, first + count) of the job with all keys of the block.
template <class Arithmetic>
void score_queries(const AttentionJob& job, const AttentionWorkspace& space, const KeyBlock& block,
                   int64_t first, int64_t count) {
  const AttentionArgs& args = *job.args;
  const int64_t depth = args.head_dim / Arithmetic::kUnit;
  const float* q = space.q + first * depth;
  for (int64_t key = 0; key < block.count; key += kPanelKeys) {
    const float* panel = space.keys + key * depth;
    for_each_tile(count, [&](auto rows, int64_t row) HWY_ATTR {
      product_tile<rows(), typename Arithmetic::Step>(
          q + row * depth, depth, panel, depth, kPanelKeys, args.softmax_scale,
          space.scores + row * kScoreStride + key, kScoreStride);
    });
  }
  if (job.head->bias == nullptr) return;
  for (int64_t row = 0; row < count; ++row) {
    add_bias(space.scores + row * kScoreStride, job.head->bias + block.first, block.count);
  }
}

// Replaces scores by weights, in units, and brings the rows' running figures to the new highest
// score.
template <class Arithmetic>
void renew_softmax(const AttentionWorkspace& space, const KeyBlock& block, int64_t width,
                   int64_t first, int64_t count) {
  for (int64_t row = 0; row < count; ++row) {
    const int64_t query = first + row;
    float* scores = space.scores + row * kScoreStride;
    float* out = space.out + query * width;
    const float block_highest = highest_of(scores, block.count);
    if (block.first == 0) {
      std::fill_n(out, width, 0.0F);
      space.highest[query] = block_highest;
      space.total[query] = 0.0F;
    } else if (block_highest > space.highest[query]) {
      const float factor = exp_of_one(space.highest[query] - block_highest);
      scale_row(out, width, factor);
      space.highest[query] = block_highest;
      space.total[query] *= factor;
    }
    space.total[query] += Arithmetic::weigh(scores, block.count, space.highest[query]);
  }
}

// Adds the block's weighted values to queries [first, first + count).
template <class Arithmetic>
void add_values(const AttentionWorkspace& space, const KeyBlock& block, int64_t width,
                int64_t first, int64_t count) {
  using Step = typename Arithmetic::Step;
  const TileTag d;
  const int64_t tile_columns = kTileVectors * lanes(d);
  const int64_t units = (block.count + Arithmetic::kUnit - 1) / Arithmetic::kUnit;
  float* out = space.out + first * width;
  int64_t column = 0;
  for (; column + tile_columns <= width; column += tile_columns) {
    for_each_tile(count, [&](auto rows, int64_t row) HWY_ATTR {
      output_tile<rows(), kTileVectors, Step>(space.scores + row * kScoreStride,
                                              space.values + value_place(column), units, width,
                                              out + row * width + column);
    });
  }
  for (; column < width; column += lanes(d)) {
    for_each_tile(count, [&](auto rows, int64_t row) HWY_ATTR {
      output_tile<rows(), 1, Step>(space.scores + row * kScoreStride,
                                   space.values + value_place(column), units, width,
                                   out + row * width + column);
    });
  }
}

// Divides by the sum of the weights and puts each query head's rows where they belong.
template <class Out>
void write_out(const AttentionJob& job, const AttentionWorkspace& space, Out* out) {
  const AttentionArgs& args = *job.args;
  const int64_t group = args.query_heads / args.kv_heads;
  const int64_t width = padded_head_dim(args.head_dim);
  for (int64_t query = 0; query < job.num_queries; ++query) {
    const int64_t head = job.kv_head * group + (job.first_query + query) / args.queries;
    const int64_t token = job.row * args.queries + (job.first_query + query) % args.queries;
    const float* from = space.out + query * width;
    Out* to = out + (token * args.query_heads + head) * args.head_dim;
    for_each_vector(args.head_dim, [&](auto d, int64_t feature) HWY_ATTR {
      const auto total = hn::Set(d, space.total[query]);
      store_f32_as(d, hn::Div(hn::LoadU(d, from + feature), total), to + feature);
    });
  }
}

// Blocks of about one size: a small last one would take its share of the loads and stores of
// outputs for few keys.
int64_t even_block(int64_t num_keys) {
  const int64_t blocks = (num_keys + kBlockKeys - 1) / kBlockKeys;
  const int64_t share = (num_keys + blocks - 1) / blocks;
  return (share + kPanelKeys - 1) / kPanelKeys * kPanelKeys;
}

template <class Arithmetic>
void run_blocks(const AttentionJob& job, const AttentionWorkspace& space) {
  const AttentionArgs& args = *job.args;
  const int64_t width = padded_head_dim(args.head_dim);
  const int64_t num_keys = job.head->num_keys();
  const int64_t block_keys = even_block(num_keys);
  for (KeyBlock block; block.first < num_keys; block.first += block_keys) {
    block.count = std::min(block_keys, num_keys - block.first);
    pack_keys<Arithmetic::kUnit>(*job.head, args.head_dim, block.first, block.count, space.keys);
    Arithmetic::pack_values(*job.head, args.head_dim, block.first, block.count, space.values);
    for (int64_t first = 0; first < job.num_queries; first += kBlockQueries) {
      const int64_t count = std::min(kBlockQueries, job.num_queries - first);
      score_queries<Arithmetic>(job, space, block, first, count);
      renew_softmax<Arithmetic>(space, block, width, first, count);
      add_values<Arithmetic>(space, block, width, first, count);
    }
  }
}

void run_job(const AttentionJob& job, AttentionWorkspace space) {
  const AttentionArgs& args = *job.args;
  const int64_t group = args.query_heads / args.kv_heads;
  const int64_t group_start = (job.row * args.kv_heads + job.kv_head) * group * args.queries;
  const float* q = args.q + (group_start + job.first_query) * args.head_dim;
#if NEXTSCALE_HAS_BF16_TILES
  if (job.in_pairs) {
    for_each_vector(job.num_queries * args.head_dim, [&](auto d, int64_t at) HWY_ATTR {
      store_f32_as(d, hn::LoadU(d, q + at), reinterpret_cast<BFloat16*>(space.pairs) + at);
    });
    space.q = space.pairs;
    run_blocks<BF16Attention>(job, space);
  } else
#endif
  {
    space.q = q;
    run_blocks<F32Attention>(job, space);
  }
  if (args.out_dtype == DType::kBF16) {
    write_out(job, space, static_cast<BFloat16*>(args.out));
  } else {
    write_out(job, space, static_cast<float*>(args.out));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nextscale::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nextscale::kernels::cpu {
namespace {

HWY_EXPORT(run_job);

// How many queries one job takes.
int64_t queries_per_job(const Context& context, const AttentionArgs& args) {
  // More would only make outputs leave the L2 cache while the blocks of keys go by.
  constexpr int64_t kMostQueries = 2048;
  constexpr int64_t kOutFloats = 262144;
  // Below two blocks, packing the keys once per job would take too much of the time.
  constexpr int64_t kFewestQueries = 2 * kBlockQueries;
  // So many jobs per thread even out heads of different lengths.
  constexpr int64_t kJobsPerThread = 4;
  const int64_t most =
      std::clamp(kOutFloats / padded_head_dim(args.head_dim), kFewestQueries, kMostQueries);
  const int64_t queries = args.query_heads / args.kv_heads * args.queries;
  const int64_t heads = args.rows * args.kv_heads;
  const int64_t wanted_jobs = context.num_threads > 1 ? kJobsPerThread * context.num_threads : 1;
  const int64_t jobs_per_head = (wanted_jobs + heads - 1) / heads;
  const int64_t share = (queries + jobs_per_head - 1) / jobs_per_head;
  const int64_t even = (share + kBlockQueries - 1) / kBlockQueries * kBlockQueries;
  return std::min(queries, std::clamp(even, kFewestQueries, most));
}

// Cuts one worker's workspace from `memory`; with null memory only counts.
size_t lay_out(const AttentionArgs& args, int64_t queries, float* memory,
               AttentionWorkspace& space) {
  const int64_t width = padded_head_dim(args.head_dim);
  int64_t used = 0;
  const auto take = [&](int64_t count) {
    float* result = memory == nullptr ? nullptr : memory + used;
    used += (count + kVectorFloats - 1) / kVectorFloats * kVectorFloats;
    return result;
  };
  space.keys = take(kBlockKeys * args.head_dim);
  space.values = take(kBlockKeys * num_panels(width) * kPanelColumns);
  space.scores = take(kBlockQueries * kScoreStride);
  space.pairs = take((queries * args.head_dim + 1) / 2);
  space.out = take(queries * width);
  space.highest = take(queries);
  space.total = take(queries);
  return static_cast<size_t>(used);
}

// Values are paired sixteen features at a time.
bool runs_in_pairs(const AttentionArgs& args, const AttentionHead& head) {
  constexpr int64_t kDimStep = 16;
  return has_fast_bf16() && args.head_dim % kDimStep == 0 && head.current.dtype == DType::kBF16;
}

}  // namespace

size_t attention_scratch(const Context& context, const AttentionArgs& shape, int64_t /*max_keys*/) {
  AttentionWorkspace space;
  const size_t floats = lay_out(shape, queries_per_job(context, shape), nullptr, space);
  return Arena::rounded(static_cast<size_t>(context.num_threads) * floats * sizeof(float));
}

void attention(const Context& context, const AttentionArgs& args) {
  const ArenaScope scope(*context.scratch);
  const int64_t per_job = queries_per_job(context, args);
  AttentionWorkspace counted;
  const size_t worker_floats = lay_out(args, per_job, nullptr, counted);
  const auto memory =
      context.scratch->take<float>(static_cast<size_t>(context.num_threads) * worker_floats);
  const int64_t queries = args.query_heads / args.kv_heads * args.queries;
  const int64_t jobs_per_head = (queries + per_job - 1) / per_job;
  const int64_t jobs = args.rows * args.kv_heads * jobs_per_head;
  parallel_for(context.num_threads, jobs, [&](int64_t index, int worker) {
    const int64_t head = index / jobs_per_head;
    AttentionJob job{.args = &args, .head = &args.heads[static_cast<size_t>(head)]};
    job.row = head / args.kv_heads;
    job.kv_head = head % args.kv_heads;
    job.first_query = index % jobs_per_head * per_job;
    job.num_queries = std::min(per_job, queries - job.first_query);
    job.in_pairs = runs_in_pairs(args, *job.head);
    AttentionWorkspace space;
    lay_out(args, per_job, memory.data() + static_cast<size_t>(worker) * worker_floats, space);
    HWY_DYNAMIC_DISPATCH(run_job)(job, space);
  });
}

}  // namespace nextscale::kernels::cpu
#endif  // HWY_ONCE
