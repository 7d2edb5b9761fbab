// SPDX-License-Identifier: Apache-2.0
// Golden cases: folders with a config.json and expected tensors made by official implementations.
// They are looked for in $NEXTSCALE_GOLDEN_DIR/<family>/<case>, or in tests/data if that is unset;
// every case found becomes a test of its own name.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "weights/safetensors.h"

namespace nextscale::golden {

struct GoldenCase {
  std::filesystem::path folder;
  nlohmann::json config;

  std::string name() const { return folder.filename().string(); }
  std::string format() const { return config.value("format", ""); }
};

// The cases of a family, by name. Throws std::runtime_error if there are none.
std::vector<GoldenCase> find_cases(const std::string& family);

// The values of a float tensor of an expected file.
std::vector<float> expected_values(const SafetensorsFile& expected, const std::string& name);

// Fails unless |got - want| <= tolerance everywhere; says where it is worst.
void expect_close(const std::string& name, std::span<const float> got, std::span<const float> want,
                  double tolerance);

// Registers the tests of one family's cases; each test program has one family and defines it.
void register_cases();

// Checks of what calibration measures, for every case of "methods"; in calibration_cases.cc.
void register_calibration_cases();

// Calibrates a VAR model and runs every cache policy on it; in var_calibration.cc.
void check_every_policy(const std::filesystem::path& model);

// Checks of var/ops; in var_ops.cc.
void check_var_ops(const GoldenCase& golden);

}  // namespace nextscale::golden
