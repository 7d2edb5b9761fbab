// SPDX-License-Identifier: Apache-2.0
// Infinity: text-to-image next-scale generation over bits (Han et al., "Infinity: Scaling Bitwise
// AutoRegressive Modeling for High-Resolution Image Synthesis", CVPR 2025; specs/infinity.md).
// Built from the shared block, the BSQ quantizer and the plain decoder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "models/infinity/config.h"
#include "models/model.h"

namespace nextscale {

// `folder` holds model.safetensors and vae.safetensors; it is read only by load(). `size` as
// picture_size.h reads it, empty for the model's own. Throws Error(kUsage) for a size that is none,
// or that needs more scales than the model has.
std::unique_ptr<ModelDescription> describe_infinity(const InfinityConfig& config,
                                                    const std::filesystem::path& folder,
                                                    const std::string& size);

}  // namespace nextscale
