// SPDX-License-Identifier: Apache-2.0
// Where intermediates go when a run is traced. The sink copies what it keeps. A name recorded again
// is appended along the first dimension, so pictures of a batch may be recorded one by one.
#pragma once

#include <string>
#include <string_view>

#include "core/tensor.h"

namespace nextscale {

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void record(const std::string& name, const ConstTensorView& value) = 0;
  // Attention probabilities and cached keys and values are large and cost extra work.
  virtual bool wants_attention() const = 0;
  // Where nobody takes the pictures, whether they are decoded to be recorded.
  virtual bool wants_pictures() const { return true; }
};

// Records x [height, width, channels] as [1, channels, height, width].
void record_planes(TraceSink& sink, const std::string& name, const float* x, const Shape& shape);

}  // namespace nextscale
