// SPDX-License-Identifier: Apache-2.0
// What a judge's file says of itself, checked: labels, shape of the network, threshold
// (docs/formats.md). Not for its weights: judge.h reads those. Plain data; thread safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "weights/safetensors.h"

namespace nextscale {

inline constexpr const char* kJudgeName = "judge.safetensors";  // in a model folder

// What a judge can name, by number.
struct JudgeLabels {
  std::vector<std::string> classes;    // of sprites
  std::vector<std::string> colors;     // of backgrounds
  std::vector<std::string> relations;  // of one sprite to another

  bool operator==(const JudgeLabels&) const = default;
};

struct JudgeConfig {
  JudgeLabels labels;
  int64_t side = 0;             // pixels of the pictures it looks at
  std::vector<int64_t> widths;  // channels behind each 3x3 convolution
  std::vector<bool> pools;      // whether a 2x2 maximum follows it
  float threshold = 0;          // a sprite's probability lies above it

  // Channels of the trunk's end, which are the features.
  int64_t num_features() const { return widths.back(); }
  // Side of the map of cells that the trunk ends in.
  int64_t cells() const;
};

// Checks metadata and shapes of all tensors. Throws Error: kMismatch (no judge, another version,
// tensors that do not fit), kBadFile (metadata that says nothing possible).
JudgeConfig read_judge_config(const SafetensorsFile& file);

}  // namespace nextscale
