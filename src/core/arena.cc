// SPDX-License-Identifier: Apache-2.0
#include "core/arena.h"

#include <algorithm>
#include <utility>

#include "core/error_format.h"
#include "core/pages.h"

namespace nextscale {

Arena::Arena(size_t capacity_bytes, const char* purpose) : capacity_(rounded(capacity_bytes)) {
  if (capacity_ == 0) return;
  void* mapping = map_pages(capacity_);
  if (mapping == nullptr) {
    fail(ErrorCode::kMemory,
         "memory: could not reserve {} bytes for {}; use a smaller batch, a smaller --kv budget or "
         "--dtype bf16",
         capacity_, purpose);
  }
  data_ = static_cast<std::byte*>(mapping);
}

Arena::~Arena() {
  if (data_ != nullptr) unmap_pages(data_, capacity_);
}

Arena::Arena(Arena&& other) noexcept { *this = std::move(other); }

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(used_, other.used_);
  std::swap(high_water_, other.high_water_);
  return *this;
}

void* Arena::take_bytes(size_t bytes) {
  NEXTSCALE_ASSERT(rounded(bytes) <= capacity_ - used_);
  void* result = data_ + used_;
  used_ += rounded(bytes);
  high_water_ = std::max(high_water_, used_);
  return result;
}

void Arena::release(size_t mark) {
  NEXTSCALE_ASSERT(mark <= used_);
  used_ = mark;
}

}  // namespace nextscale
