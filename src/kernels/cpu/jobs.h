// SPDX-License-Identifier: Apache-2.0
// How element-wise work is cut into jobs: small enough to balance over threads, large enough that
// starting one (about a tenth of a microsecond) does not count. The cut has no influence on
// results.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/context.h"
#include "core/parallel.h"

namespace nextscale::kernels::cpu {

// 64 KiB of f32: a few microseconds of work. A multiple of every vector length.
inline constexpr int64_t kElementsPerJob = 16384;

// Calls body(token) for every token, several tokens of `width` elements to a job.
template <class Body>
void for_each_token(const Context& context, int64_t tokens, int64_t width, const Body& body) {
  const int64_t tokens_per_job = std::max<int64_t>(1, kElementsPerJob / width);
  const int64_t jobs = (tokens + tokens_per_job - 1) / tokens_per_job;
  parallel_for(context.num_threads, jobs, [&](int64_t job, int) {
    const int64_t end = std::min(tokens, (job + 1) * tokens_per_job);
    for (int64_t token = job * tokens_per_job; token < end; ++token) body(token);
  });
}

}  // namespace nextscale::kernels::cpu
