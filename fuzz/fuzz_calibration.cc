// SPDX-License-Identifier: Apache-2.0
// Feeds files to the readers of calibrations, finished and unfinished.
#include "calibrate/calibration_file.h"
#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nextscale::MemoryFile file(data, size);
  try {
    nextscale::read_calibration_file(file.path());
  } catch (const nextscale::Error&) {
  }
  try {
    nextscale::read_partial_calibration(file.path());
  } catch (const nextscale::Error&) {
  }
  return 0;
}
