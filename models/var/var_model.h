// SPDX-License-Identifier: Apache-2.0
// VAR: class-conditional next-scale generation (Tian et al., "Visual Autoregressive Modeling",
// NeurIPS 2024; specs/var.md). Built from the shared block, the VQ quantizer and the VQVAE decoder.
#pragma once

#include <filesystem>
#include <memory>

#include "models/model.h"
#include "models/var/config.h"

namespace nextscale {

// `folder` holds model.safetensors and vae.safetensors; it is read only by load().
std::unique_ptr<ModelDescription> describe_var(const VarConfig& config,
                                               const std::filesystem::path& folder);

}  // namespace nextscale
