// SPDX-License-Identifier: Apache-2.0
// What a policy may know of the model that it is made for. Borrowed; read while a policy is made,
// which copies what it keeps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/geometry.h"
#include "policies/calibration.h"

namespace nextscale {

struct PolicyContext {
  Geometry geometry = {};
  // Null if none is at hand: policies that need one refuse and name the next step.
  const Calibration* calibration = nullptr;
  // Bytes of one token in all (row, layer, kv head) lists of one image, its guidance rows included,
  // keys and values: what budgets in bytes are divided by. 0 if unknown.
  uint64_t token_bytes = 0;
};

}  // namespace nextscale
