// SPDX-License-Identifier: Apache-2.0
// What a calibration file says about itself: which model, which shape, how the samples were made,
// what was imported. Plain data, and its JSON form, which is also how two runs are compared.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/geometry.h"

namespace nextscale {

// How the samples of a measurement were made. Sample i is picture number i / n of conditioning
// i % n, where n is the number of conditionings.
struct SampleSource {
  std::string kind = "classes";            // what the conditionings are: "classes" or "prompts"
  std::vector<std::string> conditionings;  // at least one
  int64_t samples = 0;
  int64_t asi_top = 0;  // history tokens per query that the selectivity index looks at (its K')
  // Every other setting that decides the samples, by name, as pictures record them: an object.
  nlohmann::json settings;
};

// Published results that were merged into the file.
struct CalibrationImport {
  std::string method;  // "heatkv" or "scalekv"
  std::string file;    // its name, for people
  std::string sha256;
};

struct CalibrationHeader {
  std::string tool;      // program and version that wrote it
  std::string model_id;  // identity of the model's files
  std::string family;
  Geometry geometry;
  std::optional<SampleSource> source;  // absent if nothing was measured
  std::vector<CalibrationImport> imports;
};

nlohmann::json to_json(const CalibrationHeader& header);

// Checks every value. Throws Error(kBadFile) naming `where`.
CalibrationHeader parse_calibration_header(const nlohmann::json& value, const std::string& where);

}  // namespace nextscale
