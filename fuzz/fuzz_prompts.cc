// SPDX-License-Identifier: Apache-2.0
// Feeds files to the reader of prompts, in both forms.
#include "apps/cli/prompt_file.h"
#include "fuzz/memory_file.h"
#include "nextscale/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using nextscale::cli::PromptForm;
  const nextscale::MemoryFile bytes(data, size);
  for (const PromptForm form : {PromptForm::kJsonLines, PromptForm::kPlainLines}) {
    try {
      nextscale::cli::PromptFile file(bytes.path(), form);
      while (const auto prompt = file.next()) {
        // A name that left the folder would be a finding.
        if (prompt->stem().find('/') != std::string::npos) __builtin_trap();
      }
    } catch (const nextscale::Error&) {
    }
  }
  return 0;
}
