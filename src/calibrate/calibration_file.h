// SPDX-License-Identifier: Apache-2.0
// The file that `nextscale calibrate` makes: safetensors with a JSON header (docs/formats.md). One
// file serves every policy and every budget. Also the unfinished file of a run that is under way,
// which holds exact sums, so that a killed run goes on as if nothing had happened. Thread safe.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "calibrate/calibration_header.h"
#include "calibrate/sums.h"
#include "policies/calibration.h"

namespace nextscale {

// Looked for in a model folder.
inline constexpr std::string_view kCalibrationName = "calibration.safetensors";
inline constexpr std::string_view kCalibrationFormat = "nextscale-calibration";

struct CalibrationFile {
  CalibrationHeader header;
  Calibration values;
  std::string sha256;  // of the file it was read from, or written to
};

// Replaces a file of that name, completely or not at all. Fills in `sha256`. Throws Error(kIo).
void write_calibration_file(const std::filesystem::path& path, CalibrationFile& file);

// Checks everything. Throws Error: kNotFound, kBadFile, kMismatch (another kind of file, another
// version), kIo.
CalibrationFile read_calibration_file(const std::filesystem::path& path);

// Whether it says that it is one; false for anything that is no sound safetensors file.
bool is_calibration_file(const std::filesystem::path& path);

// Throws Error(kMismatch) if the calibration is of another model or of another shape.
void require_model(const CalibrationFile& file, const std::filesystem::path& path,
                   std::string_view model_id, const Geometry& geometry);

// A run under way: what the finished file's header will be, samples done so far and their sums.
struct PartialCalibration {
  CalibrationHeader header;
  int64_t samples_done = 0;
  CalibrationSums sums;
};

// Where the unfinished file of `path` lies: beside it.
std::filesystem::path partial_path(const std::filesystem::path& path);

void write_partial_calibration(const std::filesystem::path& path, const PartialCalibration& run);

// Throws as read_calibration_file() does.
PartialCalibration read_partial_calibration(const std::filesystem::path& path);

}  // namespace nextscale
