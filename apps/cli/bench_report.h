// SPDX-License-Identifier: Apache-2.0
// The results of `bench kv`, `bench ceiling` and `bench model` as pages.
#pragma once

#include "bench/ceiling_bench.h"
#include "bench/kv_bench.h"
#include "bench/model_bench.h"
#include "bench_page.h"

namespace nextscale::cli {

// What ran where.
struct BenchMachine {
  int threads = 1;
  double foreign_load = 0;  // processors that other programs took meanwhile
};

BenchPage kv_page(const KvBenchSettings& settings, const KvBenchResult& result,
                  const BenchMachine& machine);
BenchPage ceiling_page(const CeilingSettings& settings, const CeilingResult& result,
                       const BenchMachine& machine);
BenchPage model_page(const PlannedModel& model, const ModelBenchSettings& settings,
                     const RunTypes& types, const ModelBenchResult& result,
                     const BenchMachine& machine);

}  // namespace nextscale::cli
