// SPDX-License-Identifier: Apache-2.0
// Feeds files to the safetensors reader.
#include "fuzz/memory_file.h"
#include "fuzz/read_everything.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nextscale::MemoryFile file(data, size);
  nextscale::read_everything([&] { return nextscale::SafetensorsFile(file.path()); });
  return 0;
}
