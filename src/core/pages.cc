// SPDX-License-Identifier: Apache-2.0
#include "core/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <limits>

namespace nextscale {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

void* map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// A mapping that begins at a large page: one that is larger by a page, its ends given back.
void* map_aligned(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t wanted = (bytes + page - 1) / page * page;
  auto* memory = static_cast<std::byte*>(map(wanted + kLargePage));
  if (memory == nullptr) return nullptr;
  const size_t over = reinterpret_cast<uintptr_t>(memory) % kLargePage;
  const size_t before = over == 0 ? 0 : kLargePage - over;
  if (before > 0) munmap(memory, before);
  if (before < kLargePage) munmap(memory + before + wanted, kLargePage - before);
  return memory + before;
}

}  // namespace

void* map_pages(size_t bytes) {
  if (bytes < 2 * kLargePage) return map(bytes);
  if (bytes > std::numeric_limits<size_t>::max() - 2 * kLargePage) return nullptr;
  void* memory = map_aligned(bytes);
  if (memory == nullptr) return nullptr;
  // Whole large pages only, so that no more becomes resident than was asked for. The system may
  // refuse; the pages are then small.
  madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
  return memory;
}

void unmap_pages(void* memory, size_t bytes) { munmap(memory, bytes); }

}  // namespace nextscale
