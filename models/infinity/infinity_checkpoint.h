// SPDX-License-Identifier: Apache-2.0
// Recognises official Infinity checkpoints: finds the transformer and the VAE in them and infers
// the geometry from shapes. Reads no weights.
#pragma once

#include <string>

#include "models/checkpoint_part.h"
#include "models/infinity/config.h"

namespace nextscale {

// Both throw Error(kMismatch) saying what the file looks like instead. The VAE's tensors go by the
// names without wrappers, whichever naming the file has.
CheckpointPart find_infinity_transformer(Checkpoint& checkpoint);
CheckpointPart find_infinity_vae(Checkpoint& checkpoint);

// `size` is the picture that runs make unless told otherwise, empty for the published one of a
// model of this shape. Throws Error(kMismatch) for anything that does not fit, kUsage for a size
// that is none.
InfinityConfig infer_infinity_config(const CheckpointPart& transformer, const CheckpointPart& vae,
                                     const std::string& size);

}  // namespace nextscale
