// SPDX-License-Identifier: Apache-2.0
#include "engine/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

namespace nextscale {
namespace {

using nlohmann::json;

constexpr int kRecipeVersion = 1;
constexpr const char* kPeopleKey = "parameters";
constexpr const char* kProgramsKey = "nextscale";

// The shortest decimal that means this float, so that 0.95 is written 0.95.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

json to_json(const Recipe& recipe) {
  return {{"version", kRecipeVersion},
          {"model", recipe.model},
          {"model_id", recipe.model_id},
          {"family", recipe.family},
          {"classes", recipe.classes},
          {"images_per_class", recipe.images_per_class},
          {"first_image", recipe.first_image},
          {"seed", recipe.seed},
          {"cfg", shortest(recipe.cfg)},
          {"top_k", recipe.top_k},
          {"top_p", shortest(recipe.top_p)},
          {"greedy", recipe.greedy},
          {"smooth", recipe.smooth},
          {"kv", recipe.kv},
          {"dtype", recipe.dtype},
          {"kv_dtype", recipe.kv_dtype},
          {"kv_bytes", recipe.kv_bytes}};
}

Recipe from_json(const json& value) {
  Recipe recipe;
  value.at("model").get_to(recipe.model);
  value.at("model_id").get_to(recipe.model_id);
  value.at("family").get_to(recipe.family);
  value.at("classes").get_to(recipe.classes);
  value.at("images_per_class").get_to(recipe.images_per_class);
  value.at("first_image").get_to(recipe.first_image);
  value.at("seed").get_to(recipe.seed);
  value.at("cfg").get_to(recipe.cfg);
  value.at("top_k").get_to(recipe.top_k);
  value.at("top_p").get_to(recipe.top_p);
  value.at("greedy").get_to(recipe.greedy);
  value.at("smooth").get_to(recipe.smooth);
  value.at("kv").get_to(recipe.kv);
  value.at("dtype").get_to(recipe.dtype);
  value.at("kv_dtype").get_to(recipe.kv_dtype);
  value.at("kv_bytes").get_to(recipe.kv_bytes);
  return recipe;
}

// For a POSIX shell.
std::string quoted(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,%+@";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string result = "'";
  for (const char letter : word) {
    if (letter == '\'') {
      result += "'\\''";
    } else {
      result += letter;
    }
  }
  return result + "'";
}

std::string sampling_text(const Recipe& recipe) {
  if (recipe.greedy) return "greedy";
  return fmt::format("top-k {}, top-p {}", recipe.top_k, recipe.top_p);
}

}  // namespace

std::vector<ImageText> recipe_texts(const Recipe& recipe) {
  const std::string people = fmt::format(
      "class {}\nSeed: {}, Images: {}-{}, CFG: {}, Sampling: {}{}, KV: {} ({}, {} bytes per "
      "image), "
      "Model: {} {} ({})",
      fmt::join(recipe.classes, ","), recipe.seed, recipe.first_image,
      recipe.first_image + recipe.images_per_class - 1, recipe.cfg, sampling_text(recipe),
      recipe.smooth ? ", smooth" : "", recipe.kv, recipe.kv_dtype, recipe.kv_bytes, recipe.family,
      recipe.model_id.substr(0, 12), recipe.dtype);
  return {{kPeopleKey, people}, {kProgramsKey, to_json(recipe).dump()}};
}

std::optional<Recipe> find_recipe(std::span<const ImageText> texts) {
  for (const ImageText& text : texts) {
    if (text.key != kProgramsKey) continue;
    const json value = json::parse(text.value, nullptr, /*allow_exceptions=*/false);
    try {
      if (value.at("version") == kRecipeVersion) return from_json(value);
    } catch (const json::exception&) {
      continue;
    }
  }
  return std::nullopt;
}

std::string recipe_command(const Recipe& recipe, const std::string& output) {
  std::string command =
      fmt::format("nextscale generate -m {} --class {} -n {} --first {} -s {} --cfg {}",
                  quoted(recipe.model), fmt::join(recipe.classes, ","), recipe.images_per_class,
                  recipe.first_image, recipe.seed, recipe.cfg);
  command += recipe.greedy ? " --greedy"
                           : fmt::format(" --top-k {} --top-p {}", recipe.top_k, recipe.top_p);
  if (recipe.smooth) command += " --smooth";
  return command + fmt::format(" --kv {} --dtype {} --kv-dtype {} -o {}", quoted(recipe.kv),
                               quoted(recipe.dtype), quoted(recipe.kv_dtype), quoted(output));
}

}  // namespace nextscale
