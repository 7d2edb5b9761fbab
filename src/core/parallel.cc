// SPDX-License-Identifier: Apache-2.0
#include "core/parallel.h"

#include <omp.h>

#if defined(__SANITIZE_THREAD__)
#define NEXTSCALE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NEXTSCALE_TSAN 1
#endif
#endif

#ifdef NEXTSCALE_TSAN
#define NEXTSCALE_NO_TSAN __attribute__((no_sanitize("thread")))
extern "C" void __tsan_acquire(void* address);  // NOLINT(bugprone-reserved-identifier)
extern "C" void __tsan_release(void* address);  // NOLINT(bugprone-reserved-identifier)
#else
#define NEXTSCALE_NO_TSAN
#endif

namespace nextscale {
namespace {

// The OpenMP runtime is not instrumented, so the thread sanitizer does not see that a region's
// start and end order memory. These two tell it; run_loop() itself is exempt, since the compiler
// hands its variables to the workers after the first of them.
void announce_acquire([[maybe_unused]] void* address) {
#ifdef NEXTSCALE_TSAN
  __tsan_acquire(address);
#endif
}

void announce_release([[maybe_unused]] void* address) {
#ifdef NEXTSCALE_TSAN
  __tsan_release(address);
#endif
}

}  // namespace

namespace detail {

NEXTSCALE_NO_TSAN void run_loop(int num_threads, int64_t count, LoopBody body, void* closure) {
  if (num_threads <= 1 || count <= 1) {
    for (int64_t index = 0; index < count; ++index) body(closure, index, 0);
    return;
  }
  char fork = 0;
  char join = 0;
  announce_release(&fork);
#pragma omp parallel num_threads(num_threads)
  {
    announce_acquire(&fork);
    const int worker = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t index = 0; index < count; ++index) body(closure, index, worker);
    announce_release(&join);
  }
  announce_acquire(&join);
}

}  // namespace detail

int available_threads() { return omp_get_num_procs(); }

}  // namespace nextscale
