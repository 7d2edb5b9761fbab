// SPDX-License-Identifier: Apache-2.0
#include "engine/bound_calibration.h"

#include <algorithm>

#include "policies/registry.h"
#include "policies/spec.h"

namespace nextscale {

namespace fs = std::filesystem;

BoundCalibration::BoundCalibration(std::string named, const ModelFolder& folder,
                                   const Geometry& geometry)
    : path_(named.empty() ? folder.path / kCalibrationName : fs::path(named)),
      model_id_(folder.hash),
      geometry_(geometry) {
  if (!named.empty()) read();
}

void BoundCalibration::read() {
  CalibrationFile file = read_calibration_file(path_);
  require_model(file, path_, model_id_, geometry_);
  file_ = std::move(file);
}

const CalibrationFile* BoundCalibration::for_policy(const std::string& kv) {
  const std::string name = parse_policy_spec(kv).name;
  const auto rows = policy_table();
  const auto row = std::ranges::find(rows, name, &PolicyRow::name);
  if (row == rows.end() || row->calibration == CalibrationUse::kNone) return nullptr;
  if (!file_ && fs::exists(path_)) read();
  return file_ ? &*file_ : nullptr;
}

}  // namespace nextscale
