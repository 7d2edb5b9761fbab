// SPDX-License-Identifier: Apache-2.0
// How plans are shown: tables for people, JSON for programs (docs/formats.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "plan/paper_plan.h"
#include "plan/run_plan.h"
#include "plan/what_fits.h"

namespace nextscale::cli {

// What was asked for, as every report repeats it.
struct PlanSubject {
  const PlannedModel& model;
  std::string kv;
  int64_t images = 1;
  int64_t sequences = 2;
};

struct RunReport {
  PlanSubject subject;
  RunTypes types;
  RunPlan plan;
  RunPlan full;  // the same run with the full cache
  uint64_t limit = 0;
  std::optional<FitAnswer> fit;  // if there is a limit
};

struct PaperReport {
  PlanSubject subject;
  PaperPlan plan;
  PaperPlan full;
};

void print_text(const RunReport& report);
void print_json(const RunReport& report);
void print_text(const PaperReport& report);
void print_json(const PaperReport& report);

}  // namespace nextscale::cli
