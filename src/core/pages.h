// SPDX-License-Identifier: Apache-2.0
// Memory from the system, in whole pages; of 2 MiB where the system lends them and the piece is
// large, which saves most of the cost of touching it first and of finding it later.
#pragma once

#include <cstddef>

namespace nextscale {

// Zeros, aligned to a page. Null if the memory cannot be had.
void* map_pages(size_t bytes);
// What map_pages(bytes) gave.
void unmap_pages(void* memory, size_t bytes);

}  // namespace nextscale
