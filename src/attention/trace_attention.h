// SPDX-License-Identifier: Apache-2.0
// Attention probabilities and whole caches for trace files: slow, allocating, for comparison only.
#pragma once

#include "core/trace.h"
#include "kernels/kernels.h"

namespace nextscale {

// Records attn.<scale>.<layer> [rows, query_heads, queries, keys] and, with `with_cache`, k.<layer>
// and v.<layer> [rows, kv_heads, keys, head_dim]. Every head must have the same number of keys.
void trace_attention(TraceSink& sink, const kernels::AttentionArgs& args, int scale, int64_t layer,
                     bool with_cache);

}  // namespace nextscale
