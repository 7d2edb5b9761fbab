// SPDX-License-Identifier: Apache-2.0
#include "engine/run_setup.h"

#include "core/memory_info.h"
#include "core/parallel.h"
#include "kernels/kernels.h"

namespace nextscale {
namespace {

// Code that oneDNN generates, thread stacks, allocator slack: what the process grows by between its
// start and its first picture, beside everything that the plan counts. Measured.
constexpr size_t kRuntimeBytes = size_t{24} << 20;

DType resolve(Precision precision, DType automatic) {
  if (precision == Precision::kAuto) return automatic;
  return precision == Precision::kF32 ? DType::kF32 : DType::kBF16;
}

}  // namespace

RunSetup run_setup(const EngineOptions& options) {
  RunSetup setup;
  setup.context.num_threads = options.threads > 0 ? options.threads : available_threads();
  setup.context.kernels =
      options.backend == Backend::kCpu ? &kernels::cpu_table() : &kernels::ref_table();
  setup.types.compute =
      resolve(options.dtype, kernels::has_fast_bf16() ? DType::kBF16 : DType::kF32);
  setup.types.kv = resolve(options.kv_dtype, setup.types.compute);
  setup.types.strip_bytes = kDecoderStrips.front();
  setup.process_bytes = resident_bytes() + kRuntimeBytes;
  return setup;
}

size_t usable_bytes(const EngineOptions& options) {
  return options.memory_limit_bytes > 0 ? options.memory_limit_bytes
                                        : available_memory_bytes() + resident_bytes();
}

}  // namespace nextscale
