// SPDX-License-Identifier: Apache-2.0
#include "apps/random_checkpoint/pickle_writer.h"

#include <vector>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr size_t kItemsPerBatch = 1000;  // as Python writes dictionaries

template <typename T>
std::string little_endian(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::vector<int64_t> contiguous_strides(const Shape& shape) {
  std::vector<int64_t> strides(static_cast<size_t>(shape.rank()));
  int64_t stride = 1;
  for (int dim = shape.rank(); dim-- > 0;) {
    strides[static_cast<size_t>(dim)] = stride;
    stride *= shape[dim];
  }
  return strides;
}

}  // namespace

std::string_view torch_storage_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "FloatStorage";
    case DType::kBF16:
      return "BFloat16Storage";
    case DType::kF16:
      return "HalfStorage";
    case DType::kI8:
      return "CharStorage";
    case DType::kU8:
      return "ByteStorage";
    case DType::kI32:
      return "IntStorage";
    case DType::kI64:
      return "LongStorage";
    case DType::kBool:
      return "BoolStorage";
  }
  return "";
}

PickleWriter::PickleWriter() : bytes_("\x80\x02") {}

PickleWriter& PickleWriter::raw(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

PickleWriter& PickleWriter::global(std::string_view module, std::string_view name) {
  return raw(fmt::format("c{}\n{}\n", module, name));
}

PickleWriter& PickleWriter::text(std::string_view text) {
  return raw("X").raw(little_endian(static_cast<uint32_t>(text.size()))).raw(text);
}

PickleWriter& PickleWriter::integer(int64_t value) {
  // Python uses shorter forms where it can; readers take this one for every value.
  return raw("\x8a\x08").raw(little_endian(value));
}

PickleWriter& PickleWriter::integers(std::span<const int64_t> values) {
  mark();
  for (const int64_t value : values) integer(value);
  return tuple();
}

PickleWriter& PickleWriter::ordered_dict() {
  return global("collections", "OrderedDict").raw(")").reduce();
}

PickleWriter& PickleWriter::tensor(const Window& window) {
  global("torch._utils", "_rebuild_tensor_v2").mark();
  mark().text("storage").global("torch", window.storage_type).text(window.key).text("cpu");
  integer(window.storage_elements).tuple().raw("Q");
  integer(window.offset).integers(window.sizes).integers(window.strides);
  constexpr std::string_view kFalse = "\x89";  // requires_grad
  return raw(kFalse).ordered_dict().tuple().reduce();
}

std::string flat_torch_pickle(std::span<const TensorInfo> tensors) {
  PickleWriter pickle;
  pickle.ordered_dict();
  for (size_t index = 0; index < tensors.size(); ++index) {
    const TensorInfo& tensor = tensors[index];
    if (index % kItemsPerBatch == 0) pickle.mark();
    pickle.text(tensor.name)
        .tensor({.storage_type = torch_storage_type(tensor.dtype),
                 .key = std::to_string(index),
                 .storage_elements = tensor.shape.num_elements(),
                 .offset = 0,
                 .sizes = tensor.shape.extents(),
                 .strides = contiguous_strides(tensor.shape)});
    if (index % kItemsPerBatch == kItemsPerBatch - 1 || index + 1 == tensors.size())
      pickle.set_items();
  }
  return pickle.finish();
}

}  // namespace nextscale
