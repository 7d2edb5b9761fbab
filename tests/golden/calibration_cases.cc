// SPDX-License-Identifier: Apache-2.0
// What calibration measures against an independent reference (tests/data/methods/README.md): the
// reference's queries and keys are fed through the engine's own attention and cache.
#include <algorithm>
#include <cmath>

#include "attention/cached_attention.h"
#include "calibrate/collector.h"
#include "core/error_format.h"
#include "golden/golden_case.h"
#include "policies/full.h"

namespace nextscale::golden {
namespace {

constexpr double kStatisticsTolerance = 1e-5;  // README.md of the cases
constexpr size_t kScratchBytes = size_t{1} << 24;

Geometry geometry_of(const nlohmann::json& config) {
  Geometry geometry{.layers = config.at("L"),
                    .query_heads = config.at("H"),
                    .kv_heads = config.at("H"),
                    .head_dim = config.at("d"),
                    .scales = {}};
  for (const auto& size : config.at("sizes")) geometry.scales.push_back({size[0], size[1]});
  return geometry;
}

// All samples of a case in batches of `images`, each without guidance.
Calibration collect(const GoldenCase& golden, const Geometry& geometry,
                    const kernels::KernelTable& table, int64_t images) {
  const SafetensorsFile inputs(golden.folder / "calibration_inputs.safetensors");
  const int64_t samples = inputs.view("s00.q").shape[0];
  const auto policy = make_full({.name = "full", .settings = {}}, {.geometry = geometry});
  const Schedule schedule = policy->schedule(geometry);
  Arena scratch(kScratchBytes, "a test");
  CalibrationCollector collector(geometry, golden.config.at("asi_top_k"));
  Context context{.num_threads = 2, .kernels = &table, .scratch = &scratch};
  context.probe = &collector;
  for (int64_t first = 0; first < samples; first += images) {
    const int64_t rows = std::min(images, samples - first);
    KvCache cache({.layers = geometry.layers,
                   .rows = rows,
                   .kv_heads = geometry.kv_heads,
                   .head_dim = geometry.head_dim,
                   .dtype = DType::kF32},
                  schedule);
    CachedAttention attention({.geometry = geometry,
                               .rows = rows,
                               .images = rows,
                               .softmax_scale = golden.config.at("scale").get<float>(),
                               .policy = policy.get()},
                              schedule, cache);
    for (int scale = 0; scale < geometry.num_scales(); ++scale) {
      attention.begin_scale(scale);
      const int64_t head_floats = geometry.tokens(scale) * geometry.head_dim;
      const int64_t floats = geometry.query_heads * head_floats;
      // [samples, layers, ...] to [rows, ...] of one layer.
      const auto part = [&](const char* name, int64_t layer) {
        const auto* all = inputs.view(fmt::format("s{:02}.{}", scale, name)).as<float>();
        std::vector<float> result;
        for (int64_t sample = first; sample < first + rows; ++sample) {
          const float* from = all + (sample * geometry.layers + layer) * floats;
          result.insert(result.end(), from, from + floats);
        }
        return result;
      };
      for (int64_t layer = 0; layer < geometry.layers; ++layer) {
        const std::vector<float> q = part("q", layer);
        const std::vector<float> k = part("k", layer);
        std::vector<float> out(q.size());
        attention.run(context, layer, {.q = q.data(), .k = k.data(), .v = k.data()},
                      {.data = out.data(), .dtype = DType::kF32});
      }
    }
  }
  EXPECT_EQ(collector.sums().sequences, samples);
  return mean_of(collector.sums(), geometry);
}

std::vector<float> as_floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

class CalibrationTest : public testing::Test {
 public:
  explicit CalibrationTest(GoldenCase golden) : golden_(std::move(golden)) {}

  void TestBody() override {
    const Geometry geometry = geometry_of(golden_.config);
    const SafetensorsFile expected(golden_.folder / "expected_calibration.safetensors");
    for (const kernels::KernelTable* table : {&kernels::ref_table(), &kernels::cpu_table()}) {
      SCOPED_TRACE(std::string(table->name));
      const Calibration got = collect(golden_, geometry, *table, 2);
      const auto expect = [&](const char* name, const std::vector<double>& values) {
        std::vector<float> want = expected_values(expected, name);
        // The reference calls the index undefined at step 0, which has no history.
        std::ranges::replace_if(
            want, [](float value) { return std::isnan(value); }, 0.0F);
        expect_close(name, as_floats(values), want, kStatisticsTolerance);
      };
      expect("mass", got.mass);
      expect("sigma", got.sigma);
      expect("asi", got.asi);
    }
  }

 private:
  GoldenCase golden_;
};

}  // namespace

void register_calibration_cases() {
  for (const GoldenCase& golden : find_cases("methods")) {
    testing::RegisterTest(("methods/" + golden.name()).c_str(), "calibration", nullptr, nullptr,
                          __FILE__, __LINE__,
                          [golden]() -> testing::Test* { return new CalibrationTest(golden); });
  }
}

}  // namespace nextscale::golden
