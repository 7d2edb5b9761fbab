// SPDX-License-Identifier: Apache-2.0
// Which tensors an Infinity model consists of, by their official names and shapes: what conversion
// demands of a checkpoint and what generated checkpoints contain. Buffers that are always zero
// (zero_k_bias) and parts that only training uses are not listed. Thread safe: no state.
#pragma once

#include <string>
#include <vector>

#include "models/infinity/config.h"
#include "weights/checkpoint.h"

namespace nextscale {

// "block_chunks.0.module.3."
std::string infinity_block_name(const InfinityConfig& config, int64_t layer);

// All f32, in the order of the forward pass.
std::vector<TensorInfo> infinity_transformer_tensors(const InfinityConfig& config);
// The decoder, in the naming without wrappers ("decoder.conv_in.weight"). All f32.
std::vector<TensorInfo> infinity_vae_tensors(const InfinityConfig& config);

// The other official naming: "decoder.conv_in.conv.weight", "decoder.norm_out.norm.bias".
std::string wrapped_vae_name(std::string_view name);

}  // namespace nextscale
