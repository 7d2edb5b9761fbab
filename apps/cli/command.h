// SPDX-License-Identifier: Apache-2.0
// The commands of the tool. Each adds its options to the tree and a callback that runs it; results
// go to stdout, progress to stderr, mistakes are thrown as nextscale::Error.
#pragma once

#include <CLI/CLI.hpp>

namespace nextscale::cli {

void add_generate(CLI::App& app);
void add_convert(CLI::App& app);
void add_eval(CLI::App& app);
void add_inspect(CLI::App& app);
void add_compare(CLI::App& app);
void add_calibrate(CLI::App& app);
void add_report(CLI::App& app);
void add_trace(CLI::App& app);
void add_plan(CLI::App& app);
void add_bench(CLI::App& app);
void add_completions(CLI::App& app);
void add_man(CLI::App& app);
void add_policies(CLI::App& app);
void add_models(CLI::App& app);
void add_version(CLI::App& app);

}  // namespace nextscale::cli
