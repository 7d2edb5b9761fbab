// SPDX-License-Identifier: Apache-2.0
#include "bench/ceiling_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "bench/random_values.h"
#include "core/stage_times.h"
#include "kernels/kernels.h"

namespace nextscale {
namespace {

constexpr double kPeakSeconds = 0.5;

// Times a warm operator.
template <class Work>
Spread time_of(const Context& context, int repeats, const Work& work) {
  work();
  std::vector<double> seconds;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    throw_if_cancelled(context);
    const double start = wall_seconds();
    work();
    seconds.push_back(wall_seconds() - start);
  }
  return spread_of(std::move(seconds));
}

struct ProductShape {
  const char* name;
  int64_t in = 0;
  int64_t out = 0;
};

OperatorRate product_rate(const Context& context, const CeilingSettings& settings,
                          const ProductShape& shape, int64_t rows, DType dtype) {
  const kernels::LinearSpec spec{
      .in_features = shape.in, .out_features = shape.out, .compute = dtype};
  const float range = kUnitRange / std::sqrt(static_cast<float>(shape.in));
  const Tensor weight =
      random_values(context, DType::kF32, {shape.out, shape.in}, range, settings.seed);
  const auto linear = context.kernels->make_linear(context, spec, {.matrix = weight.view()});
  linear->prepare(rows);
  const Tensor x = random_values(context, kernels::activation_type(dtype), {rows, shape.in},
                                 kUnitRange, settings.seed + 1);
  Tensor y(DType::kF32, {rows, shape.out});
  Arena scratch(context.kernels->linear_scratch(context, spec, rows), "product");
  Context run_context = context;
  run_context.scratch = &scratch;
  return {.name = fmt::format("{}: {} x {} by {} tokens", shape.name, shape.in, shape.out, rows),
          .dtype = dtype,
          .operations = 2.0 * static_cast<double>(shape.in * shape.out * rows),
          .seconds = time_of(context, settings.repeats, [&] {
            linear->run(run_context, x.view().data, y.view().data, rows);
          })};
}

std::vector<OperatorRate> product_rates(const Context& context, const CeilingSettings& settings,
                                        const std::function<void(const std::string&)>& on_run) {
  const BenchShape& shape = settings.shape;
  const Geometry& geometry = shape.geometry;
  const int64_t qkv = (geometry.query_heads + 2 * geometry.kv_heads) * geometry.head_dim;
  const std::array<ProductShape, 4> products = {{{"qkv", shape.width(), qkv},
                                                 {"output", shape.width(), shape.width()},
                                                 {"ffn 1", shape.width(), shape.ffn_width},
                                                 {"ffn 2", shape.ffn_width, shape.width()}}};
  const int64_t rows = settings.rows * geometry.tokens(geometry.num_scales() - 1);
  std::vector<OperatorRate> rates;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    if (dtype == DType::kBF16 && !kernels::has_fast_bf16()) continue;
    for (const ProductShape& product : products) {
      on_run(product.name);
      rates.push_back(product_rate(context, settings, product, rows, dtype));
    }
  }
  return rates;
}

// Over all `keys` tokens of every head, or, with listed_from, over a list of so many of those.
OperatorRate attention_rate(const Context& context, const CeilingSettings& settings,
                            int64_t head_dim, int64_t keys, DType dtype, int64_t listed_from) {
  constexpr int64_t kHeads = 16;
  constexpr int64_t kQueries = 4096;
  const int64_t tokens = std::max(keys, listed_from);
  const Tensor q =
      random_values(context, DType::kF32, {kHeads, kQueries, head_dim}, kUnitRange, settings.seed);
  const Tensor k =
      random_values(context, dtype, {kHeads, tokens, head_dim}, kUnitRange, settings.seed + 1);
  const Tensor v =
      random_values(context, dtype, {kHeads, tokens, head_dim}, kUnitRange, settings.seed + 2);
  std::vector<int32_t> list(static_cast<size_t>(keys));
  for (int64_t key = 0; key < keys; ++key) {
    list[static_cast<size_t>(key)] = static_cast<int32_t>(key * tokens / keys);
  }
  const size_t head_bytes = static_cast<size_t>(tokens * head_dim) * dtype_bytes(dtype);
  std::vector<kernels::AttentionHead> heads;
  for (size_t head = 0; head < kHeads; ++head) {
    const auto part = [&](const Tensor& all) { return all.as<std::byte>() + head * head_bytes; };
    heads.push_back(
        {.cached = {}, .current = {.k = part(k), .v = part(v), .tokens = tokens, .dtype = dtype}});
    if (listed_from == 0) continue;
    heads.back().attend = list.data();
    heads.back().num_attend = keys;
  }
  Tensor out(dtype, {kQueries, kHeads * head_dim});
  const kernels::AttentionArgs args{.rows = 1,
                                    .query_heads = kHeads,
                                    .kv_heads = kHeads,
                                    .queries = kQueries,
                                    .head_dim = head_dim,
                                    .softmax_scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
                                    .q = q.as<float>(),
                                    .heads = heads,
                                    .out = out.view().data,
                                    .out_dtype = dtype};
  Arena scratch(context.kernels->attention_scratch(context, args, keys), "attention");
  Context run_context = context;
  run_context.scratch = &scratch;
  const std::string which =
      listed_from == 0 ? "keys" : fmt::format("keys by a list out of {}", listed_from);
  return {.name = fmt::format("{} heads of {}, {} queries, {} {}", kHeads, head_dim, kQueries, keys,
                              which),
          .dtype = dtype,
          .operations = args.operations(),
          .seconds = time_of(context, settings.repeats,
                             [&] { context.kernels->attention(run_context, args); })};
}

// The last scale of a megapixel over everything, and over 30 % of it.
std::vector<OperatorRate> attention_rates(const Context& context, const CeilingSettings& settings,
                                          const std::function<void(const std::string&)>& on_run) {
  constexpr int64_t kAll = 10521;
  constexpr int64_t kSome = 3157;
  std::vector<OperatorRate> rates;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int64_t head_dim : {64, 128}) {
      on_run("attention");
      rates.push_back(attention_rate(context, settings, head_dim, kSome, dtype, 0));
      rates.push_back(attention_rate(context, settings, head_dim, kSome, dtype, kAll));
      rates.push_back(attention_rate(context, settings, head_dim, kAll, dtype, 0));
      rates.push_back(attention_rate(context, settings, head_dim, kAll, dtype, kAll));
    }
  }
  return rates;
}

}  // namespace

double peak_of(const PeakRates& peaks, DType dtype) {
  switch (dtype) {
    case DType::kI8:
      return peaks.i8;
    case DType::kBF16:
      return peaks.bf16;
    default:
      return peaks.f32;
  }
}

CeilingResult bench_ceiling(const Context& context, const CeilingSettings& settings,
                            const std::function<void(const std::string&)>& on_run) {
  on_run("peaks");
  CeilingResult result{.peaks = measure_peak_rates(context.num_threads, kPeakSeconds),
                       .read_bandwidth = measure_read_bandwidth(context.num_threads, kPeakSeconds),
                       .products = {},
                       .attention = {}};
  result.products = product_rates(context, settings, on_run);
  result.attention = attention_rates(context, settings, on_run);
  return result;
}

}  // namespace nextscale
