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

// One number where there is one.
json numbers(const PerScale& setting) {
  json list = json::array();
  for (const float value : setting.values) list.push_back(shortest(value));
  return list.size() == 1 ? list.front() : list;
}

PerScale numbers_from(const json& value) {
  if (value.is_number()) return value.get<float>();
  return value.get<std::vector<float>>();
}

json to_json(const Prompt& prompt) {
  json result{{"text", prompt.text}};
  if (prompt.negative) result["negative"] = *prompt.negative;
  return result;
}

Prompt prompt_from(const json& value) {
  Prompt prompt{.text = value.at("text").get<std::string>()};
  if (value.contains("negative")) prompt.negative = value.at("negative").get<std::string>();
  return prompt;
}

// Only what is not as always.
void add_rarities(const Recipe& recipe, json& value) {
  for (const Prompt& prompt : recipe.prompts) value["prompts"].push_back(to_json(prompt));
  if (!recipe.text_features.empty()) value["text_features"] = recipe.text_features;
  if (!recipe.size.empty()) value["size"] = recipe.size;
  if (recipe.tau != 1.0F) value["tau"] = numbers(recipe.tau);
  if (!recipe.cfg_layers.empty()) value["cfg_layers"] = recipe.cfg_layers;
  if (!recipe.calibration.empty()) {
    value["calibration"] = recipe.calibration;
    value["calibration_sha256"] = recipe.calibration_sha256;
  }
}

void read_rarities(const json& value, Recipe& recipe) {
  for (const json& prompt : value.value("prompts", json::array())) {
    recipe.prompts.push_back(prompt_from(prompt));
  }
  recipe.text_features = value.value("text_features", "");
  recipe.calibration = value.value("calibration", "");
  recipe.calibration_sha256 = value.value("calibration_sha256", "");
  recipe.size = value.value("size", "");
  if (value.contains("tau")) recipe.tau = numbers_from(value.at("tau"));
  recipe.cfg_layers = value.value("cfg_layers", std::vector<int64_t>{});
}

json to_json(const Recipe& recipe) {
  json value{{"version", kRecipeVersion},
             {"model", recipe.model},
             {"model_id", recipe.model_id},
             {"family", recipe.family},
             {"classes", recipe.classes},
             {"images_per_class", recipe.images_each},
             {"first_image", recipe.first_image},
             {"seed", recipe.seed},
             {"cfg", numbers(recipe.cfg)},
             {"top_k", recipe.top_k},
             {"top_p", shortest(recipe.top_p)},
             {"greedy", recipe.greedy},
             {"smooth", recipe.smooth},
             {"kv", recipe.kv},
             {"dtype", recipe.dtype},
             {"kv_dtype", recipe.kv_dtype},
             {"kv_bytes", recipe.kv_bytes}};
  add_rarities(recipe, value);
  return value;
}

Recipe from_json(const json& value) {
  Recipe recipe;
  value.at("model").get_to(recipe.model);
  value.at("model_id").get_to(recipe.model_id);
  value.at("family").get_to(recipe.family);
  value.at("classes").get_to(recipe.classes);
  value.at("images_per_class").get_to(recipe.images_each);
  value.at("first_image").get_to(recipe.first_image);
  value.at("seed").get_to(recipe.seed);
  recipe.cfg = numbers_from(value.at("cfg"));
  value.at("top_k").get_to(recipe.top_k);
  value.at("top_p").get_to(recipe.top_p);
  value.at("greedy").get_to(recipe.greedy);
  value.at("smooth").get_to(recipe.smooth);
  value.at("kv").get_to(recipe.kv);
  value.at("dtype").get_to(recipe.dtype);
  value.at("kv_dtype").get_to(recipe.kv_dtype);
  value.at("kv_bytes").get_to(recipe.kv_bytes);
  read_rarities(value, recipe);
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

// "3" or "3,2,1".
std::string list_text(const PerScale& setting) {
  return fmt::format("{}", fmt::join(setting.values, ","));
}

// What the picture shows: prompts, what stands in for them, or classes.
std::string subject_text(const Recipe& recipe) {
  if (!recipe.text_features.empty()) return "text features " + recipe.text_features;
  if (recipe.prompts.empty()) return fmt::format("class {}", fmt::join(recipe.classes, ","));
  std::string text;
  for (const Prompt& prompt : recipe.prompts) {
    if (!text.empty()) text += '\n';
    text += prompt.text;
    if (prompt.negative) text += "\nNegative prompt: " + *prompt.negative;
  }
  return text;
}

std::string subject_flags(const Recipe& recipe) {
  if (!recipe.text_features.empty()) return " --text-features " + quoted(recipe.text_features);
  if (recipe.prompts.empty()) return fmt::format(" --class {}", fmt::join(recipe.classes, ","));
  std::string flags;
  for (const Prompt& prompt : recipe.prompts) flags += " -p " + quoted(prompt.text);
  // One for all: only a file of prompts can give each its own.
  const std::optional<std::string>& negative = recipe.prompts.front().negative;
  if (negative) flags += " --negative " + quoted(*negative);
  return flags;
}

std::string guidance_flags(const Recipe& recipe) {
  std::string flags = " --cfg " + list_text(recipe.cfg) + " --tau " + list_text(recipe.tau);
  if (!recipe.cfg_layers.empty()) {
    flags += fmt::format(" --cfg-layers={}", fmt::join(recipe.cfg_layers, ","));
  }
  return flags;
}

}  // namespace

std::vector<ImageText> recipe_texts(const Recipe& recipe) {
  const std::string people = fmt::format(
      "{}\nSeed: {}, Images: {}-{}, CFG: {}, Sampling: {}{}, KV: {} ({}, {} bytes per "
      "image), "
      "Model: {} {} ({})",
      subject_text(recipe), recipe.seed, recipe.first_image,
      recipe.first_image + recipe.images_each - 1, list_text(recipe.cfg), sampling_text(recipe),
      recipe.smooth ? ", smooth" : "", recipe.kv, recipe.kv_dtype, recipe.kv_bytes, recipe.family,
      recipe.model_id.substr(0, 12), recipe.dtype);
  return {{kPeopleKey, people}, {kProgramsKey, to_json(recipe).dump()}};
}

json deciding_settings(const Recipe& recipe) {
  json result = to_json(recipe);
  for (const char* other : {"version", "model", "model_id", "family", "classes", "images_per_class",
                            "first_image", "prompts", "kv", "kv_bytes"}) {
    result.erase(other);
  }
  return result;
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
      fmt::format("nextscale generate -m {}{}", quoted(recipe.model), subject_flags(recipe));
  if (!recipe.size.empty()) command += " --size " + quoted(recipe.size);
  command += fmt::format(" -n {} --first {} -s {}{}", recipe.images_each, recipe.first_image,
                         recipe.seed, guidance_flags(recipe));
  command += recipe.greedy ? " --greedy"
                           : fmt::format(" --top-k {} --top-p {}", recipe.top_k, recipe.top_p);
  if (recipe.smooth) command += " --smooth";
  if (!recipe.calibration.empty()) command += " --calibration " + quoted(recipe.calibration);
  return command + fmt::format(" --kv {} --dtype {} --kv-dtype {} -o {}", quoted(recipe.kv),
                               quoted(recipe.dtype), quoted(recipe.kv_dtype), quoted(output));
}

}  // namespace nextscale
