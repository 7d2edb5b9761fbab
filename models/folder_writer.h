// SPDX-License-Identifier: Apache-2.0
// From parts of official checkpoints to a model folder, for the conversions of all families.
//
// Streams tensor by tensor: memory is the largest tensor, whatever the size of the file. The folder
// appears complete or not at all. Not thread safe for one output folder.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/checkpoint_part.h"
#include "models/convert.h"

namespace nextscale {

// One file of the folder: these tensors of the part, in the types given here (f32, bf16, or i8 for
// matrices), which must have been checked (require_tensors). An i8 matrix "x" comes with a tensor
// "x_factors", one for each row (core/int8_row.h).
struct FolderFile {
  std::string_view name;
  CheckpointPart part = {};
  std::vector<TensorInfo> tensors = {};
  // A file to copy as it is, instead of tensors.
  std::filesystem::path copied = {};
};

// Throws Error(kUsage) unless this is a type that matrices can be stored in.
void require_storable(DType dtype);

// Writes the files and a config.json made of `config`, the format's own keys, and the checksums of
// what was written and what it came from. Throws Error: kBadFile (weights that are not finite),
// kIo, kUsage (a folder in the way), and whatever `report` throws.
void write_model_folder(const ConvertOptions& options, nlohmann::json config,
                        std::span<const FolderFile> files, const ConvertProgress& report);

}  // namespace nextscale
