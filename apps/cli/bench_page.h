// SPDX-License-Identifier: Apache-2.0
// What a benchmark prints: facts, tables, and the same for programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bench/spread.h"

namespace nextscale::cli {

enum class ReportFormat { kText, kMarkdown, kJson };

struct BenchPage {
  using Table = std::vector<std::vector<std::string>>;  // the header first

  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<Table> tables;
  nlohmann::json json;

  // What it ran on and what ran there; other programs took `foreign_load` processors meanwhile.
  void add_machine(int threads, double foreign_load);
  std::string format(ReportFormat format) const;
};

// Milliseconds: "median (least to most)", and for programs.
std::string spread_text(const Spread& seconds);
nlohmann::json spread_json(const Spread& seconds);

}  // namespace nextscale::cli
