// SPDX-License-Identifier: Apache-2.0
// Feeds files to the reader of what pictures should show.
#include "apps/cli/expectation_file.h"
#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nextscale::JudgeLabels labels{
      .classes = {"cat", "dog"}, .colors = {"red"}, .relations = {"left of"}};
  const nextscale::MemoryFile file(data, size);
  try {
    nextscale::cli::read_expectations(file.path(), labels);
  } catch (const nextscale::Error&) {
  }
  return 0;
}
