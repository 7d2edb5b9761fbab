// SPDX-License-Identifier: Apache-2.0
// What `nextscale inspect` says about a model folder.
#pragma once

#include <string>

namespace nextscale::cli {

struct ModelInspection {
  std::string path;
  bool json = false;
  bool tensors = false;
  bool verify = false;  // compare checksums
  std::string kv{};     // policy whose view of a calibration is wanted; empty: none
};

// Throws Error as opening the folder does, kBadFile for a checksum that differs.
void inspect_model(const ModelInspection& options);

}  // namespace nextscale::cli
