// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_shape.h"

#include <array>

#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale {
namespace {

// Feed-forward parts of all of these are four times as wide as their blocks.
constexpr int64_t kFfnFactor = 4;

struct ModelRow {
  std::string_view name;
  int64_t layers;
  int64_t heads;
  int64_t head_dim;
  std::string_view usual_size;
};

// VAR: arXiv 2404.02905; Infinity: arXiv 2412.04431.
constexpr std::array kModels{
    ModelRow{"var-d16", 16, 16, 64, "256"}, ModelRow{"var-d20", 20, 20, 64, "256"},
    ModelRow{"var-d24", 24, 24, 64, "256"}, ModelRow{"var-d30", 30, 30, 64, "256"},
    ModelRow{"var-d36", 36, 36, 64, "512"}, ModelRow{"infinity-2b", 32, 16, 128, "1M"},
};

struct SizeRow {
  std::string_view family;  // prefix of the model's name
  std::string_view name;
  std::vector<int64_t> sides;
};

const std::vector<SizeRow>& sizes() {
  static const std::vector<SizeRow> kSizes{
      {"var", "256", {1, 2, 3, 4, 5, 6, 8, 10, 13, 16}},
      {"var", "512", {1, 2, 3, 4, 6, 9, 13, 18, 24, 32}},
      {"infinity", "0.06M", {1, 2, 4, 6, 8, 12, 16}},
      {"infinity", "0.25M", {1, 2, 4, 6, 8, 12, 16, 20, 24, 32}},
      {"infinity", "1M", {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64}},
  };
  return kSizes;
}

const ModelRow& find_model(std::string_view name) {
  std::vector<std::string_view> names;
  for (const ModelRow& row : kModels) {
    if (row.name == name) return row;
    names.push_back(row.name);
  }
  fail(ErrorCode::kUsage, "--shape: there is no '{}'{}; wanted one of {}", printable(name),
       did_you_mean(name, names), fmt::join(names, ", "));
}

std::vector<Grid> find_scales(const ModelRow& model, std::string_view size) {
  std::vector<std::string_view> names;
  for (const SizeRow& row : sizes()) {
    if (!model.name.starts_with(row.family)) continue;
    names.push_back(row.name);
    if (row.name != size) continue;
    std::vector<Grid> scales;
    for (const int64_t side : row.sides) scales.push_back({side, side});
    return scales;
  }
  fail(ErrorCode::kUsage, "--size: {} has no size '{}', wanted one of {}", model.name,
       printable(size), fmt::join(names, ", "));
}

}  // namespace

BenchShape bench_shape(std::string_view name, std::string_view size) {
  const ModelRow& model = find_model(name);
  if (size.empty()) size = model.usual_size;
  return bench_shape_of(fmt::format("{} at {}", name, size), {.layers = model.layers,
                                                              .query_heads = model.heads,
                                                              .kv_heads = model.heads,
                                                              .head_dim = model.head_dim,
                                                              .scales = find_scales(model, size)});
}

BenchShape bench_shape_of(std::string name, const Geometry& geometry) {
  BenchShape shape{.name = std::move(name), .geometry = geometry, .all_layers = geometry.layers};
  shape.ffn_width = kFfnFactor * shape.width();
  return shape;
}

void limit_layers(BenchShape& shape, int64_t layers) {
  if (layers == 0) return;
  if (layers < 0 || layers > shape.all_layers) {
    fail(ErrorCode::kUsage, "--layers: got {}, wanted 1 to {}, or 0 for all", layers,
         shape.all_layers);
  }
  shape.geometry.layers = layers;
}

}  // namespace nextscale
