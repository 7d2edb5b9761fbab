// SPDX-License-Identifier: Apache-2.0
#include "engine/run_setup.h"

#include "cache/kv_cache.h"
#include "core/error_format.h"
#include "core/memory_info.h"
#include "core/parallel.h"
#include "kernels/kernels.h"

namespace nextscale {
namespace {

// Code that oneDNN generates, thread stacks, allocator slack: what the process grows by between its
// start and its first picture, beside everything that the plan counts. Measured.
constexpr size_t kRuntimeBytes = size_t{24} << 20;

DType resolve(Precision precision, DType automatic) {
  switch (precision) {
    case Precision::kF32:
      return DType::kF32;
    case Precision::kBF16:
      return DType::kBF16;
    case Precision::kInt8:
      return DType::kI8;
    case Precision::kAuto:
      break;
  }
  return automatic;
}

}  // namespace

RunTypes run_types(Precision dtype, Precision kv_dtype) {
  const DType fast_float = kernels::has_fast_bf16() ? DType::kBF16 : DType::kF32;
  RunTypes types;
  types.compute = resolve(dtype, fast_float);
  // Keys and values come out of int8 products as f32.
  const DType keys = types.compute == DType::kI8 ? fast_float : types.compute;
  types.cache = resolve(kv_dtype, keys);
  types.kv = current_dtype(types.cache, keys);
  types.strip_bytes = kDecoderStrips.front();
  return types;
}

std::string_view precision_name(DType dtype) {
  return dtype == DType::kI8 ? "int8" : dtype_name(dtype);
}

RunSetup run_setup(const EngineOptions& options) {
  RunSetup setup;
  setup.context.num_threads = options.threads > 0 ? options.threads : available_threads();
  setup.context.kernels =
      options.backend == Backend::kCpu ? &kernels::cpu_table() : &kernels::ref_table();
  setup.types = run_types(options.dtype, options.kv_dtype);
  setup.process_bytes = resident_bytes() + kRuntimeBytes;
  return setup;
}

size_t usable_bytes(const EngineOptions& options) {
  return options.memory_limit_bytes > 0 ? options.memory_limit_bytes
                                        : available_memory_bytes() + resident_bytes();
}

}  // namespace nextscale
