// SPDX-License-Identifier: Apache-2.0
// Writes pickles of protocol 2, the instructions that torch.save uses: the opposite of
// src/weights/pickle.h. For generated checkpoints and for tests, which also write wrong ones. Does
// not check that the instructions make sense. Not thread safe.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "weights/checkpoint.h"

namespace nextscale {

class PickleWriter {
 public:
  PickleWriter();  // starts with the protocol

  PickleWriter& raw(std::string_view bytes);
  PickleWriter& global(std::string_view module, std::string_view name);
  PickleWriter& text(std::string_view text);
  PickleWriter& integer(int64_t value);
  PickleWriter& integers(std::span<const int64_t> values);  // as a tuple
  PickleWriter& mark() { return raw("("); }
  PickleWriter& tuple() { return raw("t"); }  // of everything since the mark
  PickleWriter& empty_dict() { return raw("}"); }
  PickleWriter& set_items() { return raw("u"); }  // of everything since the mark
  PickleWriter& set_item() { return raw("s"); }
  PickleWriter& reduce() { return raw("R"); }
  PickleWriter& ordered_dict();

  // A strided window of the storage `key`, which has `storage_elements`.
  struct Window {
    std::string_view storage_type = "FloatStorage";
    std::string_view key = "0";
    int64_t storage_elements = 0;
    int64_t offset = 0;
    std::span<const int64_t> sizes;
    std::span<const int64_t> strides;
  };
  PickleWriter& tensor(const Window& window);

  // The finished pickle.
  std::string finish() const { return bytes_ + "."; }

 private:
  std::string bytes_;
};

// "FloatStorage" for f32, and so on.
std::string_view torch_storage_type(DType dtype);

// The description of a flat dictionary of contiguous tensors, one storage each, with keys "0", "1"
// …
std::string flat_torch_pickle(std::span<const TensorInfo> tensors);

}  // namespace nextscale
