// SPDX-License-Identifier: Apache-2.0
// One job of PanelLinear: some rows times one panel.
#pragma once

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

struct PanelProduct {
  const LinearSpec* spec = nullptr;
  const float* panels = nullptr;  // see panels.h
  const float* bias = nullptr;    // [out_features]
  int64_t panel = 0;
  int64_t first_row = 0;
  int64_t num_rows = 0;
};

}  // namespace nextscale::kernels::cpu
