// SPDX-License-Identifier: Apache-2.0
// A T5 encoder with random weights as Hugging Face publishes it: config.json, safetensors shards
// with their index, spiece.model. Without a decoder. Not thread safe for one folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/text/t5_config.h"

namespace nextscale {

// Flan-T5 "small", "base", "large" or "xl". Throws Error(kUsage) for other names.
T5Config published_t5_config(const std::string& name);

void write_random_t5(const std::filesystem::path& folder, const T5Config& config, uint64_t seed,
                     int num_shards);

}  // namespace nextscale
