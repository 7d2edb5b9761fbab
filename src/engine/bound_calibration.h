// SPDX-License-Identifier: Apache-2.0
// The calibration that a run's policy is made from: the file that was named, or the one in the
// model folder. Owns what it read. Not thread safe.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "calibrate/calibration_file.h"
#include "core/geometry.h"
#include "weights/model_folder.h"

namespace nextscale {

class BoundCalibration {
 public:
  // A file that was named is read now, so that a mistake shows early; the one in the folder when a
  // policy wants it. Throws as read_calibration_file() and require_model() do.
  BoundCalibration(std::string named, const ModelFolder& folder, const Geometry& geometry);

  // For the policy that `kv` names: null if it needs none, or if there is none.
  const CalibrationFile* for_policy(const std::string& kv);

  const std::filesystem::path& path() const { return path_; }

 private:
  void read();

  std::filesystem::path path_;
  std::string model_id_;
  Geometry geometry_;
  std::optional<CalibrationFile> file_;
};

}  // namespace nextscale
