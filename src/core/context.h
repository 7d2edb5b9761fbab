// SPDX-License-Identifier: Apache-2.0
// What an operation may use besides its arguments. Passed explicitly; nothing of this is global.
#pragma once

#include <atomic>

#include "core/arena.h"

namespace nextscale {

namespace kernels {
struct KernelTable;
}

class AttentionProbe;
class TraceSink;
struct StageTimes;

struct Context {
  int num_threads = 1;
  const kernels::KernelTable* kernels = nullptr;  // never null in a running engine
  Arena* scratch = nullptr;                       // temporaries of one step; owned by the engine
  const std::atomic<bool>* cancelled =
      nullptr;                      // set from outside to stop between layers; may be null
  TraceSink* trace = nullptr;       // receives intermediates; null in ordinary runs
  AttentionProbe* probe = nullptr;  // sees the attention of every layer; null in ordinary runs
  StageTimes* stages = nullptr;     // where time goes is booked; null in ordinary runs
};

// Throws Error(kCancelled) if the run was cancelled. Called between layers and decoder stages.
void throw_if_cancelled(const Context& context);

}  // namespace nextscale
