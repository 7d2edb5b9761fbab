// SPDX-License-Identifier: Apache-2.0
// What `mass` gains against `hackpp`: the error of attention outputs against the full cache over
// the inputs of the golden cases, printed as the table of docs/policies.md.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "attention/cached_attention.h"
#include "core/error_format.h"
#include "golden/method_case.h"
#include "policies/budget.h"
#include "policies/registry.h"

namespace nextscale::golden {
namespace {

constexpr size_t kScratchBytes = size_t{1} << 24;

struct Outcome {
  std::vector<float> out;  // of all steps and layers
  size_t bytes = 0;        // of keys, values and weights
};

// Feeds the case's queries, keys and values whatever was attended before.
Outcome replay(const GoldenCase& golden, const PolicySpec& spec) {
  const Geometry geometry = geometry_of(golden.config);
  const Calibration calibration = calibration_of(golden);
  const auto policy = make_policy(spec, {.geometry = geometry, .calibration = &calibration});
  const Schedule schedule = policy->schedule(geometry);
  const auto rows = golden.config.at("B").get<int64_t>();
  KvCache cache({.layers = geometry.layers,
                 .rows = rows,
                 .kv_heads = geometry.kv_heads,
                 .head_dim = geometry.head_dim,
                 .dtype = DType::kF32,
                 .token_scores = policy->needs().token_scores()},
                schedule);
  CachedAttention attention({.geometry = geometry,
                             .rows = rows,
                             .softmax_scale = golden.config.at("scale").get<float>(),
                             .policy = policy.get()},
                            schedule, cache);
  Arena scratch(kScratchBytes, "a test");
  Context context;
  context.kernels = &kernels::cpu_table();
  context.scratch = &scratch;
  SafetensorsFile inputs(golden.folder / "inputs.safetensors");
  Outcome outcome;
  for (int step = 0; step < geometry.num_scales(); ++step) {
    attention.begin_scale(step);
    const auto part = [&](const char* name) {
      return read_values<float>(inputs, fmt::format("s{:02}.{}", step, name));
    };
    const std::vector<float> q = part("q");
    const std::vector<float> k = part("k");
    const std::vector<float> v = part("v");
    const size_t floats = q.size() / static_cast<size_t>(geometry.layers);
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      const size_t first = static_cast<size_t>(layer) * floats;
      std::vector<float> out(floats);
      attention.run(context, layer, {.q = &q[first], .k = &k[first], .v = &v[first]},
                    {.data = out.data(), .dtype = DType::kF32});
      outcome.out.insert(outcome.out.end(), out.begin(), out.end());
    }
  }
  // Tokens that are held most of the time, times what one takes.
  const size_t floats = static_cast<size_t>(2 * geometry.head_dim);
  const size_t extra = policy->needs().token_scores() ? 1 : 0;
  outcome.bytes =
      static_cast<size_t>(rows * schedule.most_held()) * (floats + extra) * sizeof(float);
  return outcome;
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0;
  double whole = 0;
  for (size_t at = 0; at < want.size(); ++at) {
    const auto reference = static_cast<double>(want[at]);
    error += std::pow(static_cast<double>(got[at]) - reference, 2);
    whole += reference * reference;
  }
  return std::sqrt(error / whole);
}

// The settings that a case's own run of HACK++ has, with other budgets.
PolicySpec spec_of(const GoldenCase& golden, const std::string& name, int64_t attended,
                   int64_t cached) {
  PolicySpec spec;
  for (const auto& run : golden.config.at("runs")) {
    if (run.at("method") == "hackpp") spec = policy_spec(golden, run);
  }
  spec.name = name;
  spec.settings["attn"] = fmt::format("{}tok", attended);
  spec.settings["cache"] = fmt::format("{}tok", cached);
  return spec;
}

struct Shares {
  int attended = 0;  // percent
  int cached = 0;
};

class MassError : public testing::TestWithParam<const char*> {};

TEST_P(MassError, AgainstHackppAtEqualBytes) {
  const std::filesystem::path folder =
      std::filesystem::path(NEXTSCALE_TEST_DATA) / "methods" / GetParam();
  std::ifstream config(folder / "config.json");
  const GoldenCase golden{folder, nlohmann::json::parse(config)};
  const Geometry geometry = geometry_of(golden.config);
  const int64_t sequence = geometry.tokens_through(geometry.num_scales() - 1);
  const std::vector<float> want = replay(golden, {.name = "full", .settings = {}}).out;
  for (const Shares& shares : {Shares{100, 10}, {50, 30}, {30, 20}, {30, 10}, {30, 5}}) {
    const int64_t attended = ceil_budget(shares.attended / 100.0, sequence);
    const int64_t cached = ceil_budget(shares.cached / 100.0, sequence);
    const Outcome plain = replay(golden, spec_of(golden, "hackpp", attended, cached));
    const Outcome as_many = replay(golden, spec_of(golden, "mass", attended, cached));
    // Weights cost tokens.
    Outcome equal = as_many;
    for (int64_t tokens = cached - 1; equal.bytes > plain.bytes && tokens > 0; --tokens) {
      equal = replay(golden, spec_of(golden, "mass", attended, tokens));
    }
    std::printf("| %s | %d %% / %d %% | %zu | %.3f | %zu | %.3f | %.3f |\n", GetParam(),
                shares.attended, shares.cached, plain.bytes, relative_error(plain.out, want),
                equal.bytes, relative_error(equal.out, want), relative_error(as_many.out, want));
    EXPECT_LE(equal.bytes, plain.bytes);
    EXPECT_TRUE(std::isfinite(relative_error(equal.out, want)));
  }
}

INSTANTIATE_TEST_SUITE_P(GoldenInputs, MassError, testing::Values("small", "rect", "cos", "edge"),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace nextscale::golden
