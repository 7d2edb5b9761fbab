// SPDX-License-Identifier: Apache-2.0
#include "engine/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nextscale {
namespace {

Recipe some_recipe() {
  return {.model = "models/it's mine",
          .model_id = "0123456789abcdef",
          .family = "var",
          .classes = {3, 7},
          .images_each = 2,
          .first_image = 1,
          .seed = 18446744073709551615U,
          .cfg = 1.5F,
          .top_k = 900,
          .top_p = 0.95F,
          .greedy = false,
          .smooth = true,
          .kv = "full",
          .dtype = "bf16",
          .kv_dtype = "f32",
          .kv_bytes = 123};
}

TEST(Recipe, SurvivesThePicturesTexts) {
  EXPECT_EQ(find_recipe(recipe_texts(some_recipe())), some_recipe());
}

TEST(Recipe, CommandRepeatsEverySettingAndQuotesNames) {
  EXPECT_EQ(recipe_command(some_recipe(), "out.png"),
            "nextscale generate -m 'models/it'\\''s mine' --class 3,7 -n 2 --first 1 "
            "-s 18446744073709551615 --cfg 1.5 --tau 1 --top-k 900 --top-p 0.95 --smooth --kv full "
            "--dtype bf16 --kv-dtype f32 -o out.png");
}

Recipe prompt_recipe() {
  Recipe recipe = some_recipe();
  recipe.classes = {};
  recipe.prompts = {{.text = "it's \"a\"\nred 🍎", .negative = ""}, {.text = "", .negative = ""}};
  recipe.size = "4:3@1M";
  recipe.tau = std::vector<float>{1.0F, 0.5F};
  recipe.cfg_layers = {0, -5};
  return recipe;
}

TEST(Recipe, OfPromptsSurvivesThePicturesTexts) {
  EXPECT_EQ(find_recipe(recipe_texts(prompt_recipe())), prompt_recipe());
}

TEST(Recipe, CommandOfPromptsIsForAnyShell) {
  EXPECT_THAT(recipe_command(prompt_recipe(), "out.png"),
              testing::HasSubstr("' -p 'it'\\''s \"a\"\nred 🍎' -p '' --negative '' --size 4:3@1M "
                                 "-n 2 --first 1 -s 18446744073709551615 --cfg 1.5 --tau 1,0.5 "
                                 "--cfg-layers=0,-5 "));
}

TEST(Recipe, CommandNamesTheFileThatStoodInForPrompts) {
  Recipe recipe = prompt_recipe();
  recipe.prompts = {};
  recipe.text_features = "my features.safetensors";
  EXPECT_EQ(find_recipe(recipe_texts(recipe)), recipe);
  EXPECT_THAT(recipe_command(recipe, "out.png"),
              testing::HasSubstr("--text-features 'my features.safetensors' --size"));
}

TEST(Recipe, ForeignAndDamagedTextsAreNotRecipes) {
  for (const char* text : {"", "{", "[]", "7", "{\"version\":1}", "{\"version\":99}",
                           "{\"version\":\"x\"}", "{\"version\":1,\"model\":5}", "null"}) {
    const std::vector<ImageText> texts{{"nextscale", text}};
    EXPECT_FALSE(find_recipe(texts).has_value()) << text;
  }
  EXPECT_FALSE(find_recipe({}).has_value());
}

}  // namespace
}  // namespace nextscale
