// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/pages.h"

namespace nextscale {
namespace {

constexpr size_t kAlignment = 64;  // one cache line, one AVX-512 vector

// Large tensors are mapped one by one, so that their memory goes back to the system with them
// wherever they lie: the C library would keep the holes that packing leaves between weights.
constexpr size_t kMappedBytes = size_t{1} << 20;

// Lies in front of every tensor's elements.
struct alignas(kAlignment) Block {
  size_t mapped_bytes;  // of the whole mapping; 0: from the C library
};

// Null if the memory cannot be had.
std::byte* allocate(size_t element_bytes) {
  const size_t bytes = sizeof(Block) + (element_bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (bytes < element_bytes) return nullptr;
  const bool is_mapped = bytes >= kMappedBytes;
  void* memory = is_mapped ? map_pages(bytes) : std::aligned_alloc(kAlignment, bytes);
  if (memory == nullptr) return nullptr;
  const auto* block = new (memory) Block{is_mapped ? bytes : 0};
  return static_cast<std::byte*>(memory) + sizeof(*block);
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> extents)
    : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  NEXTSCALE_ASSERT(extents.size() <= kMaxRank);
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

int64_t Shape::num_elements() const {
  int64_t count = 1;
  for (int64_t extent : extents()) count *= extent;
  return count;
}

std::string Shape::to_string() const { return fmt::format("[{}]", fmt::join(extents(), ", ")); }

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(extents(), other.extents());
}

void Tensor::Free::operator()(std::byte* pointer) const {
  void* memory = pointer - sizeof(Block);
  const size_t mapped_bytes = static_cast<const Block*>(memory)->mapped_bytes;
  if (mapped_bytes > 0) {
    unmap_pages(memory, mapped_bytes);
  } else {
    std::free(memory);
  }
}

Tensor::Tensor(DType dtype, const Shape& shape) : dtype_(dtype), shape_(shape) {
  const size_t bytes = view().num_bytes();
  data_.reset(allocate(bytes));
  if (data_ == nullptr) {
    fail(ErrorCode::kMemory,
         "memory: could not allocate {} bytes for a {} tensor of shape {}; "
         "close other programs or use a smaller batch",
         bytes, dtype_name(dtype), shape.to_string());
  }
}

Tensor Tensor::zeros(DType dtype, const Shape& shape) {
  Tensor result(dtype, shape);
  std::memset(result.data_.get(), 0, result.num_bytes());
  return result;
}

Tensor Tensor::clone() const {
  Tensor result(dtype_, shape_);
  std::memcpy(result.data_.get(), data_.get(), num_bytes());
  return result;
}

void copy_to_f32(const ConstTensorView& source, std::span<float> out) {
  NEXTSCALE_ASSERT(static_cast<size_t>(source.shape.num_elements()) == out.size());
  if (out.empty()) return;  // there may be no data to point at
  switch (source.dtype) {
    case DType::kF32:
      std::memcpy(out.data(), source.data, out.size_bytes());
      return;
    case DType::kBF16:
      std::transform(source.as<BFloat16>(), source.as<BFloat16>() + out.size(), out.begin(),
                     [](BFloat16 value) { return to_f32(value); });
      return;
    case DType::kF16:
      std::transform(source.as<uint16_t>(), source.as<uint16_t>() + out.size(), out.begin(),
                     f16_bits_to_f32);
      return;
    default:
      fail(ErrorCode::kMismatch, "tensor: got element type {}, wanted f32, bf16 or f16",
           dtype_name(source.dtype));
  }
}

void require_shape(std::string_view part, const ConstTensorView& view, const Shape& wanted) {
  if (view.shape == wanted) return;
  fail(ErrorCode::kMismatch,
       "{}: got shape {}, wanted {}; check that the file belongs to this model", part,
       view.shape.to_string(), wanted.to_string());
}

}  // namespace nextscale
