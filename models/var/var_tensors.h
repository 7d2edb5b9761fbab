// SPDX-License-Identifier: Apache-2.0
// Which tensors a VAR model consists of, by their official names and shapes: what conversion
// demands of a checkpoint and what generated checkpoints contain. Buffers that follow from the
// geometry (lvl_1L, attn_bias_for_masking, zero_k_bias) and parts that only training uses are not
// listed. Thread safe: no state.
#pragma once

#include <vector>

#include "models/var/config.h"
#include "weights/checkpoint.h"

namespace nextscale {

// All f32, in the order of the forward pass.
std::vector<TensorInfo> var_transformer_tensors(const VarConfig& config);
// Codebook, residual convolutions and decoder. All f32.
std::vector<TensorInfo> var_vae_tensors(const VarConfig& config);

// Tokens of all scales together.
int64_t total_tokens(const VarConfig& config);

}  // namespace nextscale
