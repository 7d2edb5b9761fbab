// SPDX-License-Identifier: Apache-2.0
#include "option_tree.h"

namespace nextscale::cli {
namespace {

OptionEntry entry_of(const CLI::Option& option) {
  OptionEntry entry;
  if (!option.get_snames().empty()) entry.letter = option.get_snames().front();
  entry.name = option.get_lnames().empty() ? option.get_name(true) : option.get_lnames().front();
  entry.description = option.get_description();
  entry.is_positional = option.get_positional();
  entry.takes_value = option.get_items_expected_max() > 0;
  return entry;
}

CommandEntry command_of(const CLI::App& app, const std::string& path) {
  CommandEntry command{
      .path = path, .description = app.get_description(), .commands = {}, .options = {}};
  for (const CLI::Option* option : app.get_options()) command.options.push_back(entry_of(*option));
  for (const CLI::App* inner : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string& name = inner->get_name();
    command.commands.push_back(command_of(*inner, path.empty() ? name : path + " " + name));
  }
  return command;
}

}  // namespace

CommandEntry option_tree(const CLI::App& app) { return command_of(app, ""); }

}  // namespace nextscale::cli
