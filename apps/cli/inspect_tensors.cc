// SPDX-License-Identifier: Apache-2.0
#include "inspect_tensors.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/error_format.h"

namespace nextscale::cli {

int64_t num_elements(const std::vector<TensorInfo>& tensors) {
  int64_t sum = 0;
  for (const TensorInfo& tensor : tensors) sum += tensor.shape.num_elements();
  return sum;
}

nlohmann::json tensor_list(const std::vector<TensorInfo>& tensors) {
  nlohmann::json list = nlohmann::json::array();
  for (const TensorInfo& tensor : tensors) {
    list.push_back({{"name", printable(tensor.name)},
                    {"dtype", dtype_name(tensor.dtype)},
                    {"shape", tensor.shape.extents()}});
  }
  return list;
}

void print_tensors(const std::vector<TensorInfo>& tensors) {
  for (const TensorInfo& tensor : tensors) {
    fmt::print("  {:<5} {:<22} {}\n", dtype_name(tensor.dtype), tensor.shape.to_string(),
               printable(tensor.name));
  }
}

}  // namespace nextscale::cli
