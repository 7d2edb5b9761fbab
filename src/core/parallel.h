// SPDX-License-Identifier: Apache-2.0
// Parallel loops. The only place of ours that opens a parallel region, so thread counts, thread
// sanitizer annotations and nesting rules live here. OpenMP underneath: the runtime oneDNN uses, so
// the two share one set of threads. Bodies must not throw and must not open another region.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nextscale {

namespace detail {

using LoopBody = void (*)(void* closure, int64_t index, int worker);

void run_loop(int num_threads, int64_t count, LoopBody body, void* closure);

}  // namespace detail

// Calls body(index, worker) once for every index in [0, count), on up to num_threads workers;
// worker is in [0, num_threads). Which worker runs which index is unspecified, so a result may
// depend on the index alone; `worker` picks scratch memory.
template <typename Body>
void parallel_for(int num_threads, int64_t count, Body&& body) {
  using Closure = std::remove_reference_t<Body>;
  detail::run_loop(
      num_threads, count,
      [](void* closure, int64_t index, int worker) {
        (*static_cast<Closure*>(closure))(index, worker);
      },
      const_cast<std::remove_const_t<Closure>*>(&body));
}

// Cores that this process may use.
int available_threads();

}  // namespace nextscale
