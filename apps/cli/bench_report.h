// SPDX-License-Identifier: Apache-2.0
// The result of `bench kv` as text, Markdown or JSON.
#pragma once

#include <string>

#include "bench/kv_bench.h"

namespace nextscale::cli {

enum class ReportFormat { kText, kMarkdown, kJson };

struct BenchReport {
  const KvBenchSettings& settings;
  const KvBenchResult& result;
  int threads = 1;
  double foreign_load = 0;  // processors that other programs took meanwhile
};

std::string format_report(const BenchReport& report, ReportFormat format);

}  // namespace nextscale::cli
