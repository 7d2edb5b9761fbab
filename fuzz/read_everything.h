// SPDX-License-Identifier: Apache-2.0
// What the checkpoint targets do with an opened file: list it and read every tensor of sane size.
#pragma once

#include <cstddef>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale {

// Errors are what the readers are for; anything else is a finding. `opened` makes the Checkpoint.
template <typename Open>
void read_everything(const Open& opened) {
  // A small file can hold one number seen as a huge tensor by strides of zero; callers check shapes
  // before they allocate, and so does this.
  constexpr size_t kMaxTensorBytes = size_t{1} << 20;
  try {
    auto checkpoint = opened();
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      if (tensor.num_bytes() > kMaxTensorBytes) continue;
      std::vector<std::byte> bytes(tensor.num_bytes());
      checkpoint.read(tensor.name, bytes);
    }
  } catch (const Error&) {
  }
}

}  // namespace nextscale
