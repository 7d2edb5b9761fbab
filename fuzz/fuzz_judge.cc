// SPDX-License-Identifier: Apache-2.0
// Feeds files to the reader of what a judge says of itself.
#include "fuzz/memory_file.h"
#include "judge/judge_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nextscale::MemoryFile file(data, size);
  try {
    nextscale::read_judge_config(nextscale::SafetensorsFile(file.path()));
  } catch (const nextscale::Error&) {
  }
  return 0;
}
