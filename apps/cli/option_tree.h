// SPDX-License-Identifier: Apache-2.0
// The commands and options of the tool as plain data: what completions and the manual are made of,
// so that nothing is typed twice.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace nextscale::cli {

struct OptionEntry {
  std::string letter;  // "m", or empty
  std::string name;    // "model"; of a positional argument its name
  std::string description;
  bool is_positional = false;
  bool takes_value = false;
};

struct CommandEntry {
  std::string path;  // "bench kv"; empty for the tool itself
  std::string description;
  std::vector<CommandEntry> commands;
  std::vector<OptionEntry> options;
};

CommandEntry option_tree(const CLI::App& app);

// Calls visit(command) for all commands, outer ones before inner ones, in the order of --help.
template <typename Visit>
void for_each_command(const CommandEntry& command, const Visit& visit) {
  visit(command);
  for (const CommandEntry& inner : command.commands) for_each_command(inner, visit);
}

}  // namespace nextscale::cli
