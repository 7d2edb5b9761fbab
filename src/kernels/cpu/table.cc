// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/onednn.h"

namespace nextscale::kernels {
namespace {

// What is not set here is ref's.
KernelTable make_table() {
  cpu::limit_onednn();
  KernelTable table = ref_table();
  table.name = "cpu";
  table.make_linear = cpu::make_linear;
  table.make_conv = cpu::make_conv;
  table.linear_bytes = cpu::linear_bytes;
  table.linear_scratch = cpu::linear_scratch;
  table.conv_bytes = cpu::conv_bytes;
  table.stored_product = cpu::stored_product;
  table.layer_norm = cpu::layer_norm;
  table.gated_add = cpu::gated_add;
  table.split_heads = cpu::split_heads;
  table.attention = cpu::attention;
  table.attention_scratch = cpu::attention_scratch;
  table.attention_profile = cpu::attention_profile;
  table.attention_profile_scratch = cpu::attention_profile_scratch;
  table.rms_norm = cpu::rms_norm;
  table.relative_attention = cpu::relative_attention;
  table.relative_attention_scratch = cpu::relative_attention_scratch;
  table.column_statistics = cpu::column_statistics;
  table.column_statistics_workspace = cpu::column_statistics_workspace;
  table.value_lengths = cpu::value_lengths;
  table.nearest = cpu::nearest;
  table.nearest_workspace = cpu::nearest_workspace;
  table.group_sums = cpu::group_sums;
  table.gather_rows = cpu::gather_rows;
  table.resample = cpu::resample;
  table.silu = cpu::silu;
  table.add = cpu::add;
  table.multiply = cpu::multiply;
  table.blend = cpu::blend;
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
