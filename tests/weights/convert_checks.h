// SPDX-License-Identifier: Apache-2.0
// What the tests of the families' conversions share: made checkpoints, and comparing what was
// stored. No state.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "models/checkpoint_part.h"
#include "weights/safetensors.h"

namespace nextscale {

// Writes a torch file of zeros with these tensors.
void write_zeros(const std::filesystem::path& path, const std::vector<TensorInfo>& tensors);

TensorInfo& named(std::vector<TensorInfo>& tensors, std::string_view name);

// Fails unless every tensor of `stored` has the values of the part's, rounded if it is bf16.
void expect_same_values(const CheckpointPart& source, const SafetensorsFile& stored);

}  // namespace nextscale
