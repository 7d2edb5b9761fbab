// SPDX-License-Identifier: Apache-2.0
// What `nextscale generate` was told, and its two ways: pictures of what the command line names, or
// of a file of prompts.
#pragma once

#include <cstdint>
#include <string>

#include "run_options.h"

namespace nextscale::cli {

struct GenerateOptions {
  RunOptions run;
  std::string prompts;  // a file; empty: what the command line names
  std::string output = "nextscale.png";
  std::string preview;
  int64_t columns = 0;
  bool replace = false;  // pictures of other settings
  bool json = false;
  bool verbose = false;
};

// Both throw Error as Engine::generate() does, and for outputs that cannot be written.
void generate_named(const GenerateOptions& options);
void generate_prompts(const GenerateOptions& options);

}  // namespace nextscale::cli
