// SPDX-License-Identifier: Apache-2.0
// Options that every command which runs a model has.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "nextscale/engine.h"

namespace nextscale::cli {

inline constexpr int kMaxThreads = 1024;

struct RunOptions {
  EngineOptions engine;
  Request request;
  std::string dtype = "auto";
  std::string kv_dtype = "auto";
  std::string memory;
  bool reference = false;
  std::vector<std::string> prompts;     // -p
  std::optional<std::string> negative;  // of all prompts that have none of their own

  // Adds the options to a command; this object must outlive it.
  void add_to(CLI::App& command);
  // Those that do not say what is generated nor under which cache policy.
  void add_settings(CLI::App& command);
  // --class.
  void add_classes(CLI::App& command);
  // --kv and --calibration.
  void add_policy(CLI::App& command);
  // -p and --negative.
  void add_prompts(CLI::App& command);
  // What the texts mean. Throws Error(kUsage).
  EngineOptions engine_options() const;
  // The request with the prompts of -p. `prompt_file` is the flag's value, where the command has
  // it. Throws Error(kUsage) for more than one kind of subject.
  Request checked_request(const std::string& prompt_file = {}) const;
};

// What the text of --dtype or --kv-dtype means. Throws Error(kUsage).
Precision parse_dtype(const std::string& text);
Precision parse_kv_dtype(const std::string& text);

// Says by which options something may be named, where nothing was.
[[noreturn]] void refuse_no_subject(std::string_view command, std::string_view options);

// Adds an option that takes one value, or a list with one for each scale.
void add_per_scale(CLI::App& command, const std::string& name, std::optional<PerScale>& target,
                   const std::string& help);

// "8GiB", "512MiB", "1000000" as bytes. Throws Error(kUsage) naming `flag`.
uint64_t parse_bytes(const std::string& flag, const std::string& text);

}  // namespace nextscale::cli
