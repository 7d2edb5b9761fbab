// SPDX-License-Identifier: Apache-2.0
// The figures of `nextscale eval`, for people and for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "judge/judged_set.h"

namespace nextscale::cli {

struct EvalReport {
  std::string judge;     // its file
  std::string pictures;  // where they are from
  const JudgedSet& seen;
  std::string reference = {};  // the folder, if there is one
  const JudgedSet* reference_seen = nullptr;
  nlohmann::json generation = {};  // what it took; null if nothing was generated
  std::optional<double> frechet_distance = {};
  MeanInterval precision = {};
  MeanInterval recall = {};
};

// Computes what compares both sets. Throws Error as frechet_distance() and coverage() do.
void compare_with_reference(EvalReport& report, int num_threads);

void print_report(const EvalReport& report);
nlohmann::json to_json(const EvalReport& report);

}  // namespace nextscale::cli
