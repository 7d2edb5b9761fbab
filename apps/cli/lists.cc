// SPDX-License-Identifier: Apache-2.0
// policies, models, version: what this build knows.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "core/parallel.h"
#include "kernels/kernels.h"
#include "models/registry.h"
#include "policies/registry.h"

namespace nextscale::cli {
namespace {

// Prints the rows of a registry: name, summary, citation.
template <typename Row>
void print_table(std::span<const Row> rows, bool json) {
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Row& row : rows) {
      list.push_back({{"name", row.name}, {"summary", row.summary}, {"citation", row.citation}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  for (const Row& row : rows) fmt::print("{:<12} {} ({})\n", row.name, row.summary, row.citation);
}

void print_policies(bool json) {
  const auto needs_calibration = [](const PolicyRow& row) {
    return row.calibration == CalibrationUse::kRequired;
  };
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const PolicyRow& row : policy_table()) {
      list.push_back({{"name", row.name},
                      {"summary", row.summary},
                      {"citation", row.citation},
                      {"needs_calibration", needs_calibration(row)}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  for (const PolicyRow& row : policy_table()) {
    fmt::print("{:<12} {} ({}){}\n", row.name, row.summary, row.citation,
               needs_calibration(row) ? ", needs a calibration" : "");
  }
}

void print_version(bool json) {
  if (!json) {
    fmt::print("nextscale {}\n", NEXTSCALE_VERSION);
    return;
  }
  nlohmann::json result{
      {"version", NEXTSCALE_VERSION},         {"compiler", __VERSION__},
      {"kernels", kernels::cpu_table().name}, {"fast_bf16", kernels::has_fast_bf16()},
      {"threads", available_threads()},       {"families", nlohmann::json::array()},
      {"policies", nlohmann::json::array()}};
  for (const FamilyRow& row : family_table()) result["families"].push_back(row.name);
  for (const PolicyRow& row : policy_table()) result["policies"].push_back(row.name);
  fmt::print("{}\n", result.dump(2));
}

// Adds a command whose only option is --json.
template <typename Print>
void add_list(CLI::App& app, const char* name, const char* help, Print print) {
  CLI::App* command = app.add_subcommand(name, help);
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print as JSON");
  command->callback([json, print] { print(*json); });
}

}  // namespace

void add_policies(CLI::App& app) {
  add_list(app, "policies", "List the cache policies", [](bool json) { print_policies(json); });
}

void add_models(CLI::App& app) {
  add_list(app, "models", "List the model families",
           [](bool json) { print_table(family_table(), json); });
}

void add_version(CLI::App& app) {
  add_list(app, "version", "Print the version and what this machine offers", print_version);
}

}  // namespace nextscale::cli
