// SPDX-License-Identifier: Apache-2.0
// The tool as tests call it: through a shell, or as a child that is stopped on its way.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace nextscale {

// Path of the program.
extern const std::string kTool;

struct Result {
  int code = -1;
  std::string output;  // of stdout and stderr
};

// A command line for sh.
Result run(const std::string& command);

// Runs the tool until a line on stderr holds `sign`, then sends the signal. Returns what waitpid()
// says of it.
int stop_at(const std::vector<std::string>& arguments, const std::string& sign, int signal);

}  // namespace nextscale
