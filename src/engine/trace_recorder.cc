// SPDX-License-Identifier: Apache-2.0
#include "engine/trace_recorder.h"

#include <cstring>
#include <utility>
#include <vector>

#include "core/error_format.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

// `more` below `tensor`, along the first dimension.
Tensor appended(const Tensor& tensor, const ConstTensorView& more) {
  std::vector<int64_t> extents(tensor.shape().extents().begin(), tensor.shape().extents().end());
  extents[0] += more.shape[0];
  Tensor result(tensor.dtype(), Shape(std::span<const int64_t>(extents)));
  std::memcpy(result.as<std::byte>(), tensor.as<std::byte>(), tensor.num_bytes());
  std::memcpy(result.as<std::byte>() + tensor.num_bytes(), more.data, more.num_bytes());
  return result;
}

}  // namespace

void TraceRecorder::record(const std::string& name, const ConstTensorView& value) {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) {
    found->second = appended(found->second, value);
    return;
  }
  Tensor copy(value.dtype, value.shape);
  std::memcpy(copy.as<std::byte>(), value.data, value.num_bytes());
  tensors_.emplace(name, std::move(copy));
}

void TraceRecorder::write(const std::filesystem::path& path) const {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors_) {
    infos.push_back({.name = name, .dtype = tensor.dtype(), .shape = tensor.shape()});
  }
  aligned_order(infos);
  SafetensorsWriter writer(path, infos, {{"format", "nextscale-trace"}});
  for (const TensorInfo& info : infos) {
    const Tensor& tensor = tensors_.at(info.name);
    writer.write({tensor.as<std::byte>(), tensor.num_bytes()});
  }
  writer.finish();
}

}  // namespace nextscale
