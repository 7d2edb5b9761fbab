// SPDX-License-Identifier: Apache-2.0
// A model folder with random weights, small enough to generate in well under a second.
#pragma once

#include <filesystem>

#include "apps/random_checkpoint/random_checkpoint.h"
#include "core/dtype.h"

namespace nextscale {

// Two layers of two heads, 32-pixel maps, scales 1 to 8.
RandomVarShape small_var_shape();

// Writes the official files, converts them and returns the model folder inside `folder`.
std::filesystem::path make_model(const std::filesystem::path& folder, const RandomVarShape& shape,
                                 DType dtype);

}  // namespace nextscale
