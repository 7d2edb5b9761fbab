// SPDX-License-Identifier: Apache-2.0
#include "kernels/ref/ref.h"

namespace nextscale::kernels {

const KernelTable& ref_table() {
  static constexpr KernelTable kTable = {
      .name = "ref",
      .make_linear = ref::make_linear,
      .make_conv = ref::make_conv,
      .linear_bytes = ref::linear_bytes,
      .linear_scratch = ref::linear_scratch,
      .conv_bytes = ref::conv_bytes,
      .stored_product = ref::stored_product,
      .layer_norm = ref::layer_norm,
      .gated_add = ref::gated_add,
      .split_heads = ref::split_heads,
      .attention = ref::attention,
      .attention_scratch = ref::attention_scratch,
      .attention_profile = ref::attention_profile,
      .attention_profile_scratch = ref::attention_profile_scratch,
      .rms_norm = ref::rms_norm,
      .relative_attention = ref::relative_attention,
      .relative_attention_scratch = ref::relative_attention_scratch,
      .column_statistics = ref::column_statistics,
      .column_statistics_workspace = ref::column_statistics_workspace,
      .value_lengths = ref::value_lengths,
      .nearest = ref::nearest,
      .nearest_workspace = ref::nearest_workspace,
      .group_sums = ref::group_sums,
      .gather_rows = ref::gather_rows,
      .resample = ref::resample,
      .silu = ref::silu,
      .add = ref::add,
      .multiply = ref::multiply,
      .blend = ref::blend,
  };
  return kTable;
}

}  // namespace nextscale::kernels
