// SPDX-License-Identifier: Apache-2.0
// Recognises official VAR checkpoints: finds the transformer and the VQVAE in them, infers the
// geometry from shapes, and compares every tensor with it. Reads no weights but the level ids.
#pragma once

#include <span>

#include "models/checkpoint_part.h"
#include "models/var/config.h"

namespace nextscale {

// Both throw Error(kMismatch) saying what the file looks like instead.
CheckpointPart find_var_transformer(Checkpoint& checkpoint);
CheckpointPart find_var_vae(Checkpoint& checkpoint);

// `patch_nums` may be empty: then they come from the checkpoint's level ids, or from its token
// count if that is one of the released schedules. Throws Error(kMismatch) for anything that does
// not fit, kUsage if the schedule must be given or contradicts the file.
VarConfig infer_var_config(const CheckpointPart& transformer, const CheckpointPart& vae,
                           std::span<const int64_t> patch_nums);

}  // namespace nextscale
