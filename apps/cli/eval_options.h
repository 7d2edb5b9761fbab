// SPDX-License-Identifier: Apache-2.0
// What `nextscale eval` was told, and its ways.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "judge/judge.h"
#include "judge/judged_set.h"
#include "run_options.h"

namespace nextscale::cli {

struct EvalOptions {
  RunOptions run;        // with a model, or
  std::string pictures;  // a folder
  std::string judge;     // a file; empty: that of the model folder
  std::string expect;    // a file; empty: what the folder or the classes say
  std::string against;   // a folder of reference pictures; empty: none
  bool json = false;
  bool verbose = false;
};

struct JudgedGeneration {
  JudgedSet seen;
  nlohmann::json summary;  // what it took, and under which settings
};

// Generates pictures of the model and looks at each; nothing is written. Throws Error as
// Engine::generate() and read_expectations() do, and kUsage, kMismatch for subjects that the judge
// cannot check.
JudgedGeneration judge_generated(const EvalOptions& options, Judge& judge);

struct DumpOptions {
  RunOptions run;
  std::string output;  // a folder
  int64_t per_class = 50;
  std::string npz;  // a file; empty: none
  bool verbose = false;
};

// Throws Error as Engine::generate() and write_npz() do, and kUsage for a folder of other settings.
void dump_pictures(const DumpOptions& options);

}  // namespace nextscale::cli
