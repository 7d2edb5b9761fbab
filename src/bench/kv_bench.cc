// SPDX-License-Identifier: Apache-2.0
#include "bench/kv_bench.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "attention/cached_attention.h"
#include "bench/random_values.h"
#include "core/tensor.h"
#include "policies/registry.h"

namespace nextscale {
namespace {

// Layers and steps read the same random values from different places on.
constexpr int64_t kShiftElements = 64;
constexpr int64_t kNumShifts = 61;

int64_t most_tokens(const Geometry& geometry) {
  int64_t most = 0;
  for (const Grid& grid : geometry.scales) most = std::max(most, grid.tokens());
  return most;
}

// Queries, keys and values of any layer and step.
class Projections {
 public:
  Projections(const Context& context, const KvBenchSettings& settings, int64_t rows)
      : q_(make(context, settings, DType::kF32, settings.shape.geometry.query_heads, rows, 0)),
        k_(make(context, settings, settings.kv, settings.shape.geometry.kv_heads, rows, 1)),
        v_(make(context, settings, settings.kv, settings.shape.geometry.kv_heads, rows, 2)) {}

  LayerQkv at(int64_t layer, int step) const {
    const int64_t shift = (layer * 7 + step) % kNumShifts * kShiftElements;
    return {.q = q_.as<float>() + shift, .k = from(k_, shift), .v = from(v_, shift)};
  }

 private:
  static Tensor make(const Context& context, const KvBenchSettings& settings, DType dtype,
                     int64_t heads, int64_t rows, uint64_t part) {
    const Geometry& geometry = settings.shape.geometry;
    const int64_t count = rows * heads * most_tokens(geometry) * geometry.head_dim;
    return random_values(context, dtype, {count + kNumShifts * kShiftElements}, kUnitRange,
                         settings.seed + part);
  }
  static const void* from(const Tensor& tensor, int64_t shift) {
    return static_cast<const std::byte*>(tensor.view().data) +
           static_cast<size_t>(shift) * dtype_bytes(tensor.dtype());
  }

  Tensor q_;  // [rows, query_heads, most tokens, head_dim] and some
  Tensor k_;  // [rows, kv_heads, most tokens, head_dim] and some
  Tensor v_;  // as k_
};

// The products of one transformer block.
class BlockProducts {
 public:
  BlockProducts(const Context& context, const KvBenchSettings& settings, int64_t rows)
      : context_(context),
        settings_(settings),
        rows_(rows),
        tokens_(rows * most_tokens(settings.shape.geometry)) {
    const Geometry& geometry = settings.shape.geometry;
    const int64_t width = settings.shape.width();
    const int64_t ffn = settings.shape.ffn_width;
    add(width, (geometry.query_heads + 2 * geometry.kv_heads) * geometry.head_dim, {});
    add(width, width, {});
    add(width, ffn,
        {.output = settings.activation(), .activation = kernels::Activation::kGeluTanh});
    add(ffn, width, {});
    const int64_t widest = std::max(ffn, 3 * width);
    x_ = random_values(context, settings.activation(), {tokens_, ffn}, kUnitRange, settings.seed);
    y_ = Tensor(DType::kF32, {tokens_, widest});
    scratch_ = Arena(scratch_bytes_, "products");
    context_.scratch = &scratch_;
    for (const Grid& grid : geometry.scales) {
      for (const auto& layer : layers_) layer->prepare(rows * grid.tokens());
    }
  }

  // Seconds of all layers over all steps.
  double run() {
    const double start = settings_.clock();
    for (const Grid& grid : settings_.shape.geometry.scales) {
      for (int64_t layer = 0; layer < settings_.shape.geometry.layers; ++layer) {
        throw_if_cancelled(context_);
        for (const auto& product : layers_) {
          product->run(context_, x_.view().data, y_.view().data, rows_ * grid.tokens());
        }
      }
    }
    return settings_.clock() - start;
  }

 private:
  void add(int64_t in, int64_t out, kernels::LinearSpec spec) {
    spec.in_features = in;
    spec.out_features = out;
    spec.compute = settings_.compute;
    const float range = kUnitRange / std::sqrt(static_cast<float>(in));
    const Tensor weight =
        random_values(context_, DType::kF32, {out, in}, range, settings_.seed + layers_.size());
    layers_.push_back(context_.kernels->make_linear(context_, spec, {.matrix = weight.view()}));
    scratch_bytes_ =
        std::max(scratch_bytes_, context_.kernels->linear_scratch(context_, spec, tokens_));
  }

  Context context_;  // with scratch memory
  const KvBenchSettings& settings_;
  int64_t rows_;
  int64_t tokens_;  // of the largest step
  size_t scratch_bytes_ = 0;
  Arena scratch_;
  std::vector<std::unique_ptr<kernels::Linear>> layers_;
  Tensor x_;  // [rows * most tokens, ffn_width]
  Tensor y_;
};

// What one generation took, in the layers that were run.
struct Generation {
  StageTimes times;
  uint64_t held_bytes = 0;
  uint64_t allocated_bytes = 0;
};

Generation generate(const Context& context, const KvBenchSettings& settings, const Policy& policy,
                    const Projections& projections) {
  const Geometry& geometry = settings.shape.geometry;
  const int64_t rows = settings.images * settings.rows_per_image;
  const Schedule schedule = policy.schedule(geometry);
  const AttentionSetup setup{
      .geometry = geometry,
      .rows = rows,
      .images = settings.images,
      .kv_dtype = settings.kv,
      .softmax_scale = 1.0F / std::sqrt(static_cast<float>(geometry.head_dim)),
      .policy = &policy};
  KvCache cache({.layers = geometry.layers,
                 .rows = rows,
                 .kv_heads = geometry.kv_heads,
                 .head_dim = geometry.head_dim,
                 .dtype = settings.cache,
                 .token_scores = policy.needs().token_scores()},
                schedule);
  const int64_t outputs = rows * most_tokens(geometry) * settings.shape.width();
  Tensor out(settings.activation(), {outputs});
  Arena scratch(CachedAttention::scratch_bytes(context, setup, schedule), "activations");
  Context run_context = context;
  run_context.scratch = &scratch;
  CachedAttention attention(setup, schedule, cache);
  Generation result;
  result.times.clock = settings.clock;
  attention.measure(&result.times);
  for (int step = 0; step < geometry.num_scales(); ++step) {
    attention.begin_scale(step);
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      throw_if_cancelled(context);
      attention.run(run_context, layer, projections.at(layer, step),
                    {.data = out.view().data, .dtype = settings.activation()});
    }
    result.held_bytes = std::max<uint64_t>(result.held_bytes, cache.held_bytes());
  }
  result.allocated_bytes = cache.allocated().total();
  return result;
}

// All repeats of one policy.
struct Runs {
  std::string kv;
  std::unique_ptr<Policy> policy;
  std::vector<Generation> generations;
};

template <typename Value>
Spread spread_over(const std::vector<Generation>& generations, Value value) {
  std::vector<double> values;
  for (size_t repeat = 0; repeat < generations.size(); ++repeat) {
    values.push_back(value(generations[repeat], repeat));
  }
  return spread_of(std::move(values));
}

PolicyCost cost_of(const Runs& runs, const std::vector<double>& linear, double factor) {
  PolicyCost cost{.kv = runs.kv};
  for (size_t stage = 0; stage < kNumPolicyStages; ++stage) {
    cost.stages[stage] = spread_over(runs.generations, [&](const Generation& each, size_t) {
      return factor * each.times.seconds[stage];
    });
  }
  const auto whole = [&](const Generation& each, size_t repeat) {
    return factor * each.times.total() + linear[repeat];
  };
  cost.generation = spread_over(runs.generations, whole);
  const Spread overhead = spread_over(runs.generations, [&](const Generation& each, size_t repeat) {
    return factor * (each.times.total() - each.times[Stage::kAttention]) / whole(each, repeat);
  });
  cost.overhead = overhead.median;
  const auto scaled = [factor](uint64_t bytes) {
    return static_cast<uint64_t>(factor * static_cast<double>(bytes));
  };
  cost.held_bytes = scaled(runs.generations.front().held_bytes);
  cost.allocated_bytes = scaled(runs.generations.front().allocated_bytes);
  return cost;
}

}  // namespace

KvBenchResult bench_kv(const Context& context, const KvBenchSettings& settings,
                       const std::function<void(const std::string&)>& on_run) {
  const double factor = settings.shape.layer_factor();
  std::vector<Runs> all;
  for (const std::string& kv : settings.policies) {
    all.push_back(
        {.kv = kv,
         .policy = make_policy(parse_policy_spec(kv), {.geometry = settings.shape.geometry,
                                                       .calibration = &settings.calibration}),
         .generations = {}});
  }
  const int64_t rows = settings.images * settings.rows_per_image;
  const Projections projections(context, settings, rows);
  BlockProducts products(context, settings, rows);
  std::vector<double> linear;
  for (int repeat = 0; repeat < settings.repeats; ++repeat) {
    on_run("linear layers");
    linear.push_back(factor * products.run());
    for (Runs& runs : all) {
      on_run(runs.kv);
      runs.generations.push_back(generate(context, settings, *runs.policy, projections));
    }
  }
  KvBenchResult result{.linear = spread_of(linear), .policies = {}};
  for (const Runs& runs : all) result.policies.push_back(cost_of(runs, linear, factor));
  return result;
}

}  // namespace nextscale
