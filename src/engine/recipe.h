// SPDX-License-Identifier: Apache-2.0
// What a picture's file says about how it was made, and back: the texts of a PNG and the command
// that makes it again.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nextscale/engine.h"
#include "nextscale/image.h"

namespace nextscale {

// Everything that decides the pixels, settings resolved.
struct Recipe {
  std::string model;     // name of the folder, for people
  std::string model_id;  // identity of its files
  std::string family;
  std::vector<int64_t> classes{};
  std::vector<Prompt> prompts{};  // instead of classes
  std::string text_features{};    // the file that stood in for the prompts, if one did
  std::string size{};             // as it was asked for
  int64_t images_each = 1;
  int64_t first_image = 0;
  uint64_t seed = 0;
  PerScale cfg = 0.0F;
  PerScale tau = 1.0F;
  std::vector<int64_t> cfg_layers{};
  int64_t top_k = 0;
  float top_p = 0;
  bool greedy = false;
  bool smooth = false;
  std::string kv;                // policy and settings
  std::string calibration = {};  // file that the policy was made from; empty if it needs none
  std::string calibration_sha256 = {};
  std::string dtype;      // of the products
  std::string kv_dtype;   // of the cache
  uint64_t kv_bytes = 0;  // peak of one image, keys and values

  bool operator==(const Recipe&) const = default;
};

// "parameters" for people and "nextscale" (JSON) for programs.
std::vector<ImageText> recipe_texts(const Recipe& recipe);

// What decides tokens beside the model, the picture's number and the cache policy: an object.
nlohmann::json deciding_settings(const Recipe& recipe);

// The recipe in a picture's texts; nothing if they hold none that can be understood.
std::optional<Recipe> find_recipe(std::span<const ImageText> texts);

// The shell command that makes the picture again.
std::string recipe_command(const Recipe& recipe, const std::string& output);

}  // namespace nextscale
