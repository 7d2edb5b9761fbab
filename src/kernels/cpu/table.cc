// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu.h"

namespace nextscale::kernels {
namespace {

KernelTable make_table() {
  KernelTable table = ref_table();
  table.name = "cpu";
  table.make_linear = cpu::make_linear;
  return table;
}

}  // namespace

const KernelTable& cpu_table() {
  static const KernelTable kTable = make_table();
  return kTable;
}

bool has_fast_bf16() {
#if defined(__x86_64__)
  // Every CPU with amx_bf16 has avx512_bf16 as well.
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace nextscale::kernels
