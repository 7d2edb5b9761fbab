// SPDX-License-Identifier: Apache-2.0
// What a golden case of the cache methods says of its model, calibration and runs.
#pragma once

#include <string>
#include <vector>

#include "golden/golden_case.h"
#include "policies/calibration.h"
#include "policies/spec.h"

namespace nextscale::golden {

Geometry geometry_of(const nlohmann::json& config);

// The statistics that the reference measured.
Calibration calibration_of(const GoldenCase& golden);

// A run in the words of --kv. Budgets of the reference are tokens per head and win over the shares
// that they came from, except for HeatKV, where they are a share of the history.
PolicySpec policy_spec(const GoldenCase& golden, const nlohmann::json& run);

// A tensor that need not lie at an aligned address.
template <typename Value>
std::vector<Value> read_values(SafetensorsFile& file, const std::string& name) {
  std::vector<Value> values(file.find(name)->num_bytes() / sizeof(Value));
  file.read(name, std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace nextscale::golden
