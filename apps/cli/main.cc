// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale::cli {
namespace {

// Every long option can also be given as NEXTSCALE_<OPTION>.
void name_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty() || option->get_lnames()[0] == "help") continue;
    std::string name = "NEXTSCALE_" + option->get_lnames()[0];
    std::ranges::replace(name, '-', '_');
    std::ranges::transform(name, name.begin(),
                           [](unsigned char letter) { return std::toupper(letter); });
    option->envname(name);
  }
  for (CLI::App* command : app.get_subcommands({})) name_environment(*command);
}

// True for an option that takes the word behind it.
bool takes_next(const CLI::App& command, const std::string& argument) {
  if (!argument.starts_with('-')) return false;
  const CLI::Option* option = command.get_option_no_throw(argument);
  return option != nullptr && option->get_items_expected_min() > 0;
}

// Refuses a command or an option that does not exist, naming the nearest that does.
void check_names(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> names;
  const auto check = [&](const std::string& kind, const std::string& got) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    if (std::ranges::find(names, got) != names.end()) return;
    fail(ErrorCode::kUsage, "{}: there is no '{}'{}; see --help", kind, printable(got),
         did_you_mean(got, views));
  };
  if (arguments.empty() || arguments[0].starts_with("-")) return;
  const CLI::App* command = &app;
  for (const std::string& argument : arguments) {
    const auto below = command->get_subcommands({});
    if (below.empty() || argument.starts_with("-")) break;
    names.clear();
    for (const CLI::App* each : below) names.push_back(each->get_name());
    check("command", argument);
    command = command->get_subcommand(argument);
  }
  names = {"--help"};
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  bool is_value = false;  // of the option before it, whatever it looks like
  for (const std::string& argument : arguments) {
    if (argument == "--") return;
    if (argument.starts_with("--") && !is_value) {
      check("option", argument.substr(0, argument.find('=')));
    }
    is_value = !is_value && takes_next(*command, argument);
  }
}

int run(int argc, char** argv) {
  CLI::App app(
      "Runs next-scale image models natively, with a key/value cache kept small head by head.");
  app.name("nextscale");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 not found, 4 bad file, 5 wrong file, 6 unsupported,\n"
      "7 memory, 8 input/output, 130 cancelled. Options can be set as NEXTSCALE_<OPTION>.");
  add_generate(app);
  add_convert(app);
  add_inspect(app);
  add_compare(app);
  add_calibrate(app);
  add_eval(app);
  add_report(app);
  add_trace(app);
  add_plan(app);
  add_bench(app);
  add_policies(app);
  add_models(app);
  add_version(app);
  add_completions(app);
  add_man(app);
  name_environment(app);
  check_names(app, {argv + std::min(argc, 1), argv + argc});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    fail(ErrorCode::kUsage, "{}; see --help", error.what());
  }
  return 0;
}

}  // namespace
}  // namespace nextscale::cli

int main(int argc, char** argv) {
  const auto report = [](std::string_view message, nextscale::ErrorCode code) {
    fmt::print(stderr, "nextscale: {}\n", message);
    return static_cast<int>(code);
  };
  // A file size limit is then an error like a full disk, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return nextscale::cli::run(argc, argv);
  } catch (const nextscale::Error& error) {
    return report(error.what(), error.code());
  } catch (const std::bad_alloc&) {
    return report("memory: an allocation failed; close other programs or use a smaller batch",
                  nextscale::ErrorCode::kMemory);
  } catch (const std::exception& error) {
    return report(error.what(), nextscale::ErrorCode::kInternal);
  }
}
