// SPDX-License-Identifier: Apache-2.0
// Where a model's tensors come from: a file, or for benchmarks of shapes nowhere, so that random
// numbers stand in for them. Not thread safe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/context.h"
#include "weights/safetensors.h"

namespace nextscale {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Valid until drop(). Throws Error: kMismatch for another shape, kBadFile for a tensor that is
  // not there.
  virtual ConstTensorView view(const std::string& name, const Shape& shape) = 0;
  // Lets go of a tensor that was packed or copied.
  virtual void drop(const std::string& name) = 0;
  // Lets go of what memory it can while the view stays valid: it may be read again.
  virtual void rest(const std::string& name) = 0;
};

// A borrowed file.
std::unique_ptr<WeightSource> weights_of(const SafetensorsFile& file);

// The file `name` of a model folder; random f32 numbers if `folder` is empty, as it is for a
// published model that nobody has. Those are functions of the tensor's shape, of a size that keeps
// activations around 1. Throws Error as SafetensorsFile does.
std::unique_ptr<WeightSource> open_weights(const Context& context,
                                           const std::filesystem::path& folder,
                                           const std::string& name);

}  // namespace nextscale
