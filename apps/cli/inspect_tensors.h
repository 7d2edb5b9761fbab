// SPDX-License-Identifier: Apache-2.0
// Lists of tensors, as `nextscale inspect` prints them.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "weights/checkpoint.h"

namespace nextscale::cli {

int64_t num_elements(const std::vector<TensorInfo>& tensors);
nlohmann::json tensor_list(const std::vector<TensorInfo>& tensors);
void print_tensors(const std::vector<TensorInfo>& tensors);

}  // namespace nextscale::cli
