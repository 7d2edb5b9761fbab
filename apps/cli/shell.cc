// SPDX-License-Identifier: Apache-2.0
// completions, man: what shells and readers of manuals want to know, from the option tree.
#include <fmt/format.h>

#include <array>
#include <memory>

#include "command.h"
#include "core/error_format.h"
#include "option_tree.h"

namespace nextscale::cli {
namespace {

std::string last_word(const std::string& path) { return path.substr(path.rfind(' ') + 1); }

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

// In single quotes, for any shell. What is inside is text of our own.
std::string quoted(const std::string& text) { return "'" + replaced(text, "'", R"('\'')") + "'"; }

// Words for one command, separated by spaces.
struct Words {
  std::string commands;
  std::string options;
};

Words words_after(const CommandEntry& command) {
  Words words;
  for (const CommandEntry& inner : command.commands) words.commands += last_word(inner.path) + " ";
  for (const OptionEntry& option : command.options) {
    if (!option.is_positional) words.options += "--" + option.name + " ";
  }
  return words;
}

// What has been typed if the words after it belong to this command.
std::string pattern_of(const CommandEntry& command) {
  return command.path.empty() ? "*" : quoted(command.path + " ") + "*";
}

// ---- Completions --------------------------------------------------------------------------------

// File names where no word matches (-o default).
void print_bash(const CommandEntry& tool) {
  std::string cases;
  for_each_command(tool, [&cases](const CommandEntry& command) {
    const Words words = words_after(command);
    // Inner commands come first: the first pattern that matches decides.
    cases = fmt::format("    {}) commands={} options={} ;;\n", pattern_of(command),
                        quoted(words.commands), quoted(words.options)) +
            cases;
  });
  fmt::print(
      "_nextscale() {{\n"
      "  local commands options current=\"${{COMP_WORDS[COMP_CWORD]}}\"\n"
      "  case \"${{COMP_WORDS[*]:1:COMP_CWORD-1}} \" in\n"
      "{}  esac\n"
      "  [[ $current == -* ]] && commands=$options\n"
      "  COMPREPLY=($(compgen -W \"$commands\" -- \"$current\"))\n"
      "}}\n"
      "complete -o default -F _nextscale nextscale\n",
      cases);
}

// "'name:description'", as _describe wants it.
std::string described(const std::string& name, const std::string& description) {
  return " " + quoted(name + ":" + description);
}

void print_zsh(const CommandEntry& tool) {
  std::string cases;
  for_each_command(tool, [&cases](const CommandEntry& command) {
    std::string commands;
    std::string options;
    for (const CommandEntry& inner : command.commands) {
      commands += described(last_word(inner.path), inner.description);
    }
    for (const OptionEntry& option : command.options) {
      if (!option.is_positional) options += described("--" + option.name, option.description);
    }
    cases = fmt::format("    {}) commands=({}) options=({}) ;;\n", pattern_of(command), commands,
                        options) +
            cases;
  });
  fmt::print(
      "#compdef nextscale\n"
      "_nextscale() {{\n"
      "  local -a commands options\n"
      "  case \"${{words[2,CURRENT-1]}} \" in\n"
      "{}  esac\n"
      "  if [[ $PREFIX == -* ]]; then\n"
      "    _describe -o option options\n"
      "  elif (( $#commands )); then\n"
      "    _describe command commands\n"
      "  else\n"
      "    _files\n"
      "  fi\n"
      "}}\n"
      "compdef _nextscale nextscale\n",
      cases);
}

void print_fish(const CommandEntry& tool) {
  for_each_command(tool, [](const CommandEntry& command) {
    const std::string condition = command.path.empty()
                                      ? "__fish_use_subcommand"
                                      : "__fish_seen_subcommand_from " + last_word(command.path);
    for (const CommandEntry& inner : command.commands) {
      fmt::print("complete -c nextscale -f -n {} -a {} -d {}\n", quoted(condition),
                 last_word(inner.path), quoted(inner.description));
    }
    for (const OptionEntry& option : command.options) {
      if (option.is_positional) continue;
      fmt::print("complete -c nextscale -n {}{} -l {}{} -d {}\n", quoted(condition),
                 option.letter.empty() ? "" : " -s " + option.letter, option.name,
                 option.takes_value ? " -r" : "", quoted(option.description));
    }
  });
}

struct Shell {
  std::string_view name;
  void (*print)(const CommandEntry& tool);
};

constexpr std::array kShells{Shell{"bash", print_bash}, Shell{"zsh", print_zsh},
                             Shell{"fish", print_fish}};

void print_completions(const CLI::App& app, const std::string& name) {
  for (const Shell& shell : kShells) {
    if (shell.name == name) return shell.print(option_tree(app));
  }
  fail(ErrorCode::kUsage, "completions: got '{}', wanted bash, zsh or fish", printable(name));
}

// ---- Manual -------------------------------------------------------------------------------------

// Backslashes, dashes that are typed, and dots at the start of a line mean something to troff.
std::string roff(const std::string& text) {
  std::string result = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
  return result.starts_with('.') || result.starts_with('\'') ? "\\&" + result : result;
}

std::string option_names(const OptionEntry& option) {
  std::string text;
  if (!option.letter.empty()) text = fmt::format("\\fB\\-{}\\fR, ", option.letter);
  text += option.is_positional ? fmt::format("\\fI{}\\fR", roff(option.name))
                               : fmt::format("\\fB\\-\\-{}\\fR", roff(option.name));
  if (option.takes_value && !option.is_positional) text += " \\fIVALUE\\fR";
  return text;
}

void print_manual_of(const CommandEntry& command) {
  if (command.path.empty()) return;
  fmt::print(".SS \"nextscale {}\"\n{}\n", roff(command.path), roff(command.description));
  for (const OptionEntry& option : command.options) {
    fmt::print(".TP\n{}\n{}\n", option_names(option), roff(option.description));
  }
}

void print_manual(const CLI::App& app) {
  const CommandEntry tool = option_tree(app);
  fmt::print(
      ".TH NEXTSCALE 1 \"\" \"nextscale {}\"\n"
      ".SH NAME\nnextscale \\- next\\-scale image models with a small key/value cache\n"
      ".SH SYNOPSIS\n\\fBnextscale\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\n{}\n.SH COMMANDS\n",
      NEXTSCALE_VERSION, roff(tool.description));
  for_each_command(tool, print_manual_of);
  fmt::print(".SH NOTES\n{}\n", roff(app.get_footer()));
}

}  // namespace

void add_completions(CLI::App& app) {
  CLI::App* command = app.add_subcommand("completions", "Print what a shell needs to complete");
  const auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required();
  command->callback([&app, shell] { print_completions(app, *shell); });
}

void add_man(CLI::App& app) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page");
  command->callback([&app] { print_manual(app); });
}

}  // namespace nextscale::cli
