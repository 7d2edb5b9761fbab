// SPDX-License-Identifier: Apache-2.0
#include "core/trace.h"

namespace nextscale {

void record_planes(TraceSink& sink, const std::string& name, const float* x, const Shape& shape) {
  const int64_t pixels = shape[0] * shape[1];
  const int64_t channels = shape[2];
  Tensor planes(DType::kF32, Shape{1, channels, shape[0], shape[1]});
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      planes.as<float>()[channel * pixels + pixel] = x[pixel * channels + channel];
    }
  }
  sink.record(name, planes.view());
}

}  // namespace nextscale
