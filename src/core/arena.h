// SPDX-License-Identifier: Apache-2.0
// A bump allocator over one mapping. All memory of the layer loop is taken from arenas that were
// sized by the plan, so nothing allocates between the first scale and the last.
//
// The owner decides the capacity; asking for more is our mistake and asserts. Pages count as
// resident memory from their first use, and leave with the arena. Not thread safe.
#pragma once

#include <cstddef>
#include <span>

namespace nextscale {

class Arena {
 public:
  Arena() = default;
  // Reserves `capacity_bytes`. Throws Error(kMemory) naming `purpose` if the system refuses.
  Arena(size_t capacity_bytes, const char* purpose);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  // Uninitialised memory, 64-byte aligned, valid until release() to an earlier mark.
  void* take_bytes(size_t bytes);
  template <typename T>
  std::span<T> take(size_t count) {
    return {static_cast<T*>(take_bytes(count * sizeof(T))), count};
  }

  // What take() of this many bytes will use, rounding included: plans add these up.
  static constexpr size_t rounded(size_t bytes) {
    return (bytes + kAlignment - 1) & ~(kAlignment - 1);
  }

  size_t mark() const { return used_; }
  void release(size_t mark);
  size_t capacity_bytes() const { return capacity_; }
  size_t high_water_bytes() const { return high_water_; }

 private:
  static constexpr size_t kAlignment = 64;

  std::byte* data_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
  size_t high_water_ = 0;
};

// Gives back what was taken during a scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  size_t mark_;
};

}  // namespace nextscale
