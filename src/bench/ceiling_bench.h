// SPDX-License-Identifier: Apache-2.0
// What the machine reaches at most, and how near to it the operators come that take the time of a
// generation: matrix products at a model's shapes, and attention. Needs no weights.
//
// Blocking; works on the threads of the context. Memory: one product's weights, and some 300 MiB.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/bench_shape.h"
#include "bench/peak_rates.h"
#include "bench/spread.h"
#include "core/context.h"
#include "core/dtype.h"

namespace nextscale {

struct CeilingSettings {
  BenchShape shape;
  int64_t rows = 2;  // sequences that run together
  int repeats = 5;
  uint64_t seed = 1;
};

// One operator.
struct OperatorRate {
  std::string name;
  DType dtype = DType::kF32;  // of what is multiplied: f32, bf16 or i8
  double operations = 0;      // a multiplication and an addition are two
  Spread seconds;

  double rate() const { return operations / seconds.median; }
};

struct CeilingResult {
  PeakRates peaks;
  double read_bandwidth = 0;  // bytes per second
  std::vector<OperatorRate> products;
  std::vector<OperatorRate> attention;
};

// The ceiling of such products.
double peak_of(const PeakRates& peaks, DType dtype);

// `on_run` is told what runs next. Throws Error(kCancelled).
CeilingResult bench_ceiling(const Context& context, const CeilingSettings& settings,
                            const std::function<void(const std::string&)>& on_run);

}  // namespace nextscale
