// SPDX-License-Identifier: Apache-2.0
#include "blocks/weight_loader.h"

#include "core/error_format.h"

namespace nextscale {

bool WeightLoader::has(const std::string& name) const { return file_.find(name) != nullptr; }

ConstTensorView WeightLoader::view(const std::string& name, const Shape& shape) const {
  const ConstTensorView view = file_.view(name);
  require_shape(name, view, shape);
  return view;
}

std::unique_ptr<kernels::Linear> WeightLoader::linear(const std::string& name,
                                                      const kernels::LinearSpec& spec) {
  return linear(name + ".weight", spec, read(name + ".bias", Shape{spec.out_features}));
}

std::unique_ptr<kernels::Linear> WeightLoader::linear(const std::string& weight_name,
                                                      const kernels::LinearSpec& spec,
                                                      const std::vector<float>& bias) {
  const ConstTensorView weight = view(weight_name, Shape{spec.out_features, spec.in_features});
  const ConstTensorView bias_view{bias.data(), DType::kF32, Shape{spec.out_features}};
  auto result = context_.kernels->make_linear(context_, spec, weight, bias_view);
  loaded_bytes_ += result->packed_bytes();
  file_.drop(weight_name);
  return result;
}

std::unique_ptr<kernels::Conv> WeightLoader::conv(const std::string& name,
                                                  const kernels::ConvSpec& spec) {
  const ConstTensorView weight =
      view(name + ".weight", Shape{spec.out_channels, spec.in_channels, spec.kernel, spec.kernel});
  const std::vector<float> bias = read(name + ".bias", Shape{spec.out_channels});
  auto result = context_.kernels->make_conv(context_, spec, weight,
                                            {bias.data(), DType::kF32, Shape{spec.out_channels}});
  loaded_bytes_ += result->packed_bytes();
  file_.drop(name + ".weight");
  return result;
}

std::vector<float> WeightLoader::read(const std::string& name, const Shape& shape) const {
  std::vector<float> result(static_cast<size_t>(shape.num_elements()));
  copy_to_f32(view(name, shape), result);
  file_.drop(name);
  return result;
}

std::vector<float> WeightLoader::values(const std::string& name, const Shape& shape) {
  std::vector<float> result = read(name, shape);
  loaded_bytes_ += result.size() * sizeof(float);
  return result;
}

}  // namespace nextscale
