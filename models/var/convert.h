// SPDX-License-Identifier: Apache-2.0
// Official VAR checkpoints → model folder.
//
// Streams tensor by tensor: memory is the largest tensor, whatever the size of the file. The folder
// appears complete or not at all. Not thread safe for one output folder.
//
//   convert_var({.transformer = "var_d16.pth", .vae = "vae_ch160v4096z32.pth", .output =
//   "var-d16"});
#pragma once

#include "models/convert.h"
#include "models/var/config.h"

namespace nextscale {

// Returns the geometry that was found. Throws Error: kMismatch (not such a checkpoint), kUsage (a
// flag is needed or contradicts), kBadFile, kNotFound, kIo.
VarConfig convert_var(const ConvertOptions& options, const ConvertProgress& report = {});

}  // namespace nextscale
