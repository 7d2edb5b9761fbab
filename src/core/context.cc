// SPDX-License-Identifier: Apache-2.0
#include "core/context.h"

#include "core/error_format.h"

namespace nextscale {

void throw_if_cancelled(const Context& context) {
  if (context.cancelled == nullptr || !context.cancelled->load(std::memory_order_relaxed)) return;
  fail(ErrorCode::kCancelled, "cancelled: stopped on request; no output was written");
}

}  // namespace nextscale
