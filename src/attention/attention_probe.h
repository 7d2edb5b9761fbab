// SPDX-License-Identifier: Apache-2.0
// Looks on while a generation attends: how calibration sees queries and keys. Whoever sets
// Context::probe owns it; it must outlive the generation. Called by one thread at a time.
#pragma once

#include "core/context.h"
#include "kernels/kernels.h"

namespace nextscale {

struct AttentionSetup;

class AttentionProbe {
 public:
  virtual ~AttentionProbe() = default;

  // The most scratch memory that see() takes in such a generation.
  virtual size_t scratch_bytes(const Context& context, const AttentionSetup& setup) const = 0;

  // Called after the attention of every layer of every scale, in their order. The arguments are
  // those the operator had.
  virtual void see(const Context& context, const AttentionSetup& setup, int scale, int64_t layer,
                   const kernels::AttentionArgs& args) = 0;
};

}  // namespace nextscale
