// SPDX-License-Identifier: Apache-2.0
// The whole numbers of an int8 product: sums of u8 times i8 in 32 bits, exact, so that they are the
// same from every implementation and in every order. Owns the packed weights. Not thread safe: one
// run() at a time, on the threads of the context it was made with.
#pragma once

#include <memory>

#include "kernels/kernels.h"

namespace nextscale::kernels::cpu {

class Int8Product {
 public:
  virtual ~Int8Product() = default;
  // Readies run() for this number of rows; cheap when repeated.
  virtual void prepare(int64_t rows) = 0;
  // sums [rows, outputs] = x [rows, depth] W^T
  virtual void run(const uint8_t* x, int64_t rows, int32_t* sums) const = 0;
  virtual size_t bytes() const = 0;
};

// weights [outputs, depth] i8, depth a multiple of kInt8DepthStep; copied. oneDNN's where it is
// fast, else our own loop.
std::unique_ptr<Int8Product> make_int8_product(const Context& context,
                                               const ConstTensorView& weights);

// What the product of such weights holds.
size_t int8_product_bytes(const Context& context, int64_t outputs, int64_t depth);

}  // namespace nextscale::kernels::cpu
