// SPDX-License-Identifier: Apache-2.0
// Makes a calibration file: generates sample after sample under the full cache while a collector
// looks on, and keeps what it has beside the output, so that a killed run goes on where it was and
// ends with the same file, bit for bit.
#pragma once

#include <functional>

#include "calibrate/calibration_file.h"
#include "nextscale/engine.h"

namespace nextscale {

// History tokens of a query that the selectivity index adds up. ScaleKV does not say how many it
// takes; this is as many as the queries that the other methods observe.
inline constexpr int64_t kAsiTop = 32;

// Generates pictures of a request: Engine::generate().
using GenerateSamples = std::function<void(const Request&, const Events&)>;

struct CalibrationRun {
  CalibrationHeader header;  // of the file to be made; holds the samples' source
  Request request;           // of all samples: its classes or prompts are taken in turn
  std::filesystem::path output;
};

// The settings of every sample, with the classes or prompts that they take in turn. `num_classes`
// of the model; 0 if it reads prompts. Throws Error(kUsage).
Request sample_settings(const CalibrationRequest& request, int64_t num_classes);

// Throws Error: kCancelled, saying how to go on; kIo; whatever `generate` throws.
void run_calibration(const CalibrationRun& run, const CalibrationEvents& events,
                     const GenerateSamples& generate);

}  // namespace nextscale
