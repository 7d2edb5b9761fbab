// SPDX-License-Identifier: Apache-2.0
// From a model's named tensors to packed operators: checks shapes, packs, and lets go of the file's
// pages, so that weights are held once. Borrows the context, and a file that it did not open.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/context.h"
#include "kernels/kernels.h"
#include "weights/weight_source.h"

namespace nextscale {

class WeightLoader {
 public:
  WeightLoader(const Context& context, const SafetensorsFile& file)
      : context_(context), source_(weights_of(file)) {}
  // A file of a model folder, or random numbers: see open_weights().
  WeightLoader(const Context& context, const std::filesystem::path& folder, const std::string& name)
      : context_(context), source_(open_weights(context, folder, name)) {}

  const Context& context() const { return context_; }
  // `name`.weight [out, in] and `name`.bias [out] as one product.
  std::unique_ptr<kernels::Linear> linear(const std::string& name, const kernels::LinearSpec& spec);
  // The same with the bias given by the caller.
  std::unique_ptr<kernels::Linear> linear(const std::string& weight_name,
                                          const kernels::LinearSpec& spec,
                                          const std::vector<float>& bias);
  std::unique_ptr<kernels::Linear> linear_without_bias(const std::string& weight_name,
                                                       const kernels::LinearSpec& spec);
  // As linear(), but x is f32 whatever the type, and the matrix stays where it lies: for few rows.
  // The loader's source stays open for it.
  std::unique_ptr<kernels::Linear> stored_linear(const std::string& name,
                                                 const kernels::LinearSpec& spec);
  // `name`.weight [out, in, kernel, kernel] and `name`.bias [out].
  std::unique_ptr<kernels::Conv> conv(const std::string& name, const kernels::ConvSpec& spec);
  // A tensor of this shape as f32: to keep, and to pass on (packed operators count their own
  // bytes).
  std::vector<float> values(const std::string& name, const Shape& shape);
  std::vector<float> read(const std::string& name, const Shape& shape) const;

  // What was packed or copied so far.
  size_t loaded_bytes() const { return loaded_bytes_; }

 private:
  std::unique_ptr<kernels::Linear> pack(const std::string& weight_name,
                                        const kernels::LinearSpec& spec,
                                        const ConstTensorView& bias);
  // An int8 matrix times the factors of its rows, for products in f32 or bf16.
  Tensor widened(const ConstTensorView& matrix, const std::vector<float>& factors,
                 DType dtype) const;

  const Context& context_;
  std::shared_ptr<WeightSource> source_;
  size_t loaded_bytes_ = 0;
};

}  // namespace nextscale
