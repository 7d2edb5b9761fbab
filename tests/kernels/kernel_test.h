// SPDX-License-Identifier: Apache-2.0
// What the kernel tests share: contexts, random tensors, comparisons, and running a test body once
// for every instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstring>

#include "core/rng.h"
#include "kernels/kernels.h"
#include "tests/kernels/tolerances.h"

namespace nextscale::kernels {

// Contexts with scratch memory.
class KernelTest : public ::testing::Test {
 protected:
  Context context(int num_threads = 2) { return {.num_threads = num_threads, .scratch = &arena_}; }

 private:
  Arena arena_{size_t{64} << 20, "kernel tests"};
};

inline void store_element(const TensorView& to, int64_t index, float value) {
  constexpr float kLargestI8 = 127.0F;
  if (to.dtype == DType::kI8) {
    to.as<int8_t>()[index] = static_cast<int8_t>(kLargestI8 * value);
  } else if (to.dtype == DType::kBF16) {
    to.as<BFloat16>()[index] = to_bf16(value);
  } else {
    to.as<float>()[index] = value;
  }
}

inline float load_element(const ConstTensorView& from, int64_t index) {
  if (from.dtype == DType::kBF16) return to_f32(from.as<BFloat16>()[index]);
  return from.as<float>()[index];
}

// Uniform in [-magnitude, magnitude), times 127 for i8; the same for the same seed.
inline Tensor random_tensor(DType dtype, const Shape& shape, uint64_t seed,
                            float magnitude = 1.0F) {
  Tensor result(dtype, shape);
  for (int64_t index = 0; index < shape.num_elements(); ++index) {
    const RandomSite site{.seed = seed, .position = static_cast<uint32_t>(index)};
    store_element(result.view(), index, magnitude * (2.0F * uniform(site, 0) - 1.0F));
  }
  return result;
}

inline ConstTensorView view_of(const Tensor& tensor) { return tensor.view(); }

inline ::testing::AssertionResult is_close(const ConstTensorView& actual,
                                           const ConstTensorView& expected,
                                           const Tolerance& tolerance) {
  for (int64_t index = 0; index < expected.shape.num_elements(); ++index) {
    const double got = load_element(actual, index);
    const double wanted = load_element(expected, index);
    // Not `>`: NaN must fail.
    if (!(std::fabs(got - wanted) <= tolerance.absolute + tolerance.relative * std::fabs(wanted))) {
      return ::testing::AssertionFailure()
             << "element " << index << " of " << expected.shape.to_string() << ": got " << got
             << ", wanted " << wanted;
    }
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult is_close(const Tensor& actual, const Tensor& expected,
                                           const Tolerance& tolerance) {
  return is_close(view_of(actual), view_of(expected), tolerance);
}

inline bool same_bits(const void* left, const void* right, size_t bytes) {
  return std::memcmp(left, right, bytes) == 0;
}

inline bool same_bits(const Tensor& left, const Tensor& right) {
  return left.num_bytes() == right.num_bytes() &&
         same_bits(view_of(left).data, view_of(right).data, left.num_bytes());
}

// Calls body() with every instruction set that was compiled and that this machine has.
template <typename Body>
void for_each_instruction_set(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace nextscale::kernels
