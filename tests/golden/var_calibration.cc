// SPDX-License-Identifier: Apache-2.0
// Every cache policy on models of the official format, with a calibration made of each.
#include <algorithm>

#include "calibrate/calibration_file.h"
#include "golden/golden_case.h"
#include "nextscale/engine.h"
#include "policies/registry.h"
#include "support/temporary_folder.h"

namespace nextscale::golden {
namespace {

namespace fs = std::filesystem;

// Bytes of keys and values after every scale but the last, which nobody reads.
std::vector<uint64_t> held_bytes(Engine& engine, const std::string& kv, Plan* plan) {
  std::vector<uint64_t> held;
  Events events;
  events.on_plan = [&](const Plan& planned) { *plan = planned; };
  events.on_scale = [&](const ScaleEvent& event) {
    if (event.scale + 1 < event.num_scales) held.push_back(event.kv_bytes);
  };
  engine.generate({.classes = {"1"}, .cfg = PerScale(1.5F), .kv = kv}, events);
  return held;
}

// What the policy's schedule says that they are: guided and unguided rows, f32 keys and values.
std::vector<uint64_t> scheduled_bytes(const Geometry& geometry, const Policy& policy) {
  constexpr int64_t kRows = 2;
  const Schedule schedule = policy.schedule(geometry);
  std::vector<uint64_t> bytes;
  for (int step = 0; step + 1 < geometry.num_scales(); ++step) {
    int64_t tokens = 0;
    for (int64_t layer = 0; layer < geometry.layers; ++layer) {
      for (int64_t head = 0; head < geometry.kv_heads; ++head) {
        tokens += schedule.cached(step, layer, head);
      }
    }
    bytes.push_back(static_cast<uint64_t>(tokens * kRows * 2 * geometry.head_dim) * sizeof(float));
  }
  return bytes;
}

void expect_as_planned(Engine& engine, const CalibrationFile& file, const std::string& kv,
                       uint64_t* peak) {
  SCOPED_TRACE(kv);
  const Geometry& geometry = file.header.geometry;
  const auto policy =
      make_policy(parse_policy_spec(kv), {.geometry = geometry, .calibration = &file.values});
  Plan plan;
  const std::vector<uint64_t> held = held_bytes(engine, kv, &plan);
  const std::vector<uint64_t> scheduled = scheduled_bytes(geometry, *policy);
  ASSERT_EQ(held.size(), scheduled.size());
  for (size_t step = 0; step < held.size(); ++step) {
    // Layers that share a budget are scheduled at the most that each could get.
    if (policy->needs().layer_budgets) {
      EXPECT_LE(held[step], scheduled[step]) << step;
    } else {
      EXPECT_EQ(held[step], scheduled[step]) << step;
    }
  }
  *peak = *std::ranges::max_element(held);
  EXPECT_LE(*peak, plan.kv_cache);
}

}  // namespace

void check_every_policy(const fs::path& model) {
  const fs::path calibration = model / kCalibrationName;
  Engine engine({.model = model.string(), .dtype = Precision::kF32, .threads = 1});
  engine.calibrate({.request = {.seed = 1}, .samples = 2, .output = calibration.string()}, {});
  const CalibrationFile file = read_calibration_file(calibration);
  for (const PolicyRow& row : policy_table()) {
    if (row.name == "full") continue;  // it has no budget
    uint64_t last = UINT64_MAX;
    for (const char* budget : {"50%", "30%", "10%", "1tok"}) {
      const std::string name(row.name);
      uint64_t peak = 0;
      expect_as_planned(engine, file, name + ":budget=" + budget, &peak);
      EXPECT_LE(peak, last) << name << " at " << budget;
      last = peak;
    }
  }
}

}  // namespace nextscale::golden
