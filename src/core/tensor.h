// SPDX-License-Identifier: Apache-2.0
// Tensors: Tensor owns 64-byte aligned memory and moves, TensorView and ConstTensorView borrow.
// All are row-major and contiguous; a file's strided tensor is made contiguous by its reader.
// Shapes and dtypes are checked at op boundaries (require_shape), never inside kernels.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/dtype.h"
#include "core/error_format.h"

namespace nextscale {

// Extents of a tensor, outermost first; at most kMaxRank of them.
class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int dim) const { return extents_[static_cast<size_t>(dim)]; }
  int64_t num_elements() const;
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  // "[2, 3]"; "[]" for a scalar.
  std::string to_string() const;

  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

// Read-only borrowed tensor.
struct ConstTensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  size_t num_bytes() const {
    return static_cast<size_t>(shape.num_elements()) * dtype_bytes(dtype);
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// Borrowed tensor that may be written.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  size_t num_bytes() const { return ConstTensorView(*this).num_bytes(); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // Implicit, as from T* to const T*.
  operator ConstTensorView() const {  // NOLINT(google-explicit-constructor)
    return {data, dtype, shape};
  }
};

// Owning tensor. Move only; copying is spelled clone().
class Tensor {
 public:
  Tensor() = default;
  // Contents are uninitialised. Throws Error(kMemory) if the allocation fails.
  Tensor(DType dtype, const Shape& shape);

  static Tensor zeros(DType dtype, const Shape& shape);

  Tensor clone() const;
  bool empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  size_t num_bytes() const { return view().num_bytes(); }

  TensorView view() { return {data_.get(), dtype_, shape_}; }
  ConstTensorView view() const { return {data_.get(), dtype_, shape_}; }
  template <typename T>
  T* as() {
    return static_cast<T*>(static_cast<void*>(data_.get()));
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(static_cast<const void*>(data_.get()));
  }

 private:
  struct Free {
    void operator()(std::byte* pointer) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  DType dtype_ = DType::kF32;
  Shape shape_;
};

// Converts a view of any float type into `out` (f32, same number of elements).
void copy_to_f32(const ConstTensorView& source, std::span<float> out);

// Throws Error(kMismatch) naming `part` unless the view has this shape.
void require_shape(std::string_view part, const ConstTensorView& view, const Shape& wanted);

}  // namespace nextscale
