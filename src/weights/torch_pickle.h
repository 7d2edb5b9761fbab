// SPDX-License-Identifier: Apache-2.0
// What the data.pkl of a torch.save file says about tensors: names, and where each lies in which
// storage. Reads no storage. A name is the path of dictionary keys, joined with '/'; values that
// are not tensors are skipped. Every name of a Python object outside a short list is refused.
// Thread safe: no state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace nextscale {

struct TorchStorageType {
  std::string_view name;       // as in "torch.FloatStorage"
  std::string_view type_name;  // as messages call it
  size_t element_bytes;
  std::optional<DType> dtype;  // nothing for types that this engine does not read
};

// A strided window of a storage. The window lies inside the claimed number of elements.
struct TorchTensor {
  std::string name;
  std::string storage_key;
  const TorchStorageType* type = nullptr;
  int64_t storage_elements = 0;
  int64_t offset = 0;  // in elements
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;  // in elements, never negative
  int64_t extent = 0;            // elements from the first to just after the last
};

// Sorted by name, no name twice. Throws Error(kBadFile, kUnsupported, kMismatch) naming `where`.
std::vector<TorchTensor> read_torch_pickle(std::span<const std::byte> bytes,
                                           std::string_view where);

}  // namespace nextscale
