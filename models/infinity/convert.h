// SPDX-License-Identifier: Apache-2.0
// Official Infinity checkpoints → model folder.
//
// Streams tensor by tensor: memory is the largest tensor, whatever the size of the files. The
// folder appears complete or not at all. Not thread safe for one output folder.
//
//   convert_infinity({.transformer = "infinity_2b_reg.pth", .vae = "infinity_vae_d32reg.pth",
//                     .output = "infinity-2b"});
#pragma once

#include "models/convert.h"
#include "models/infinity/config.h"

namespace nextscale {

// Returns the geometry that was found. Throws Error: kMismatch (not such a checkpoint), kUsage (a
// flag is missing or wrong), kBadFile, kNotFound, kIo.
InfinityConfig convert_infinity(const ConvertOptions& options, const ConvertProgress& report = {});

}  // namespace nextscale
