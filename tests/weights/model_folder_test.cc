// SPDX-License-Identifier: Apache-2.0
#include "weights/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error_format.h"
#include "models/var/config.h"
#include "tests/weights/temporary_folder.h"
#include "weights/sha256.h"

namespace nextscale {
namespace {

using nlohmann::json;

json sound_config() {
  const VarConfig config{.layers = 2,
                         .heads = 2,
                         .head_dim = 64,
                         .width = 128,
                         .ffn_width = 512,
                         .classes = 10,
                         .vocab = 16,
                         .latent_channels = 4,
                         .patch_nums = {1, 2, 3},
                         .base_channels = 32,
                         .channel_multipliers = {1, 1, 2, 2, 4},
                         .num_res_blocks = 2,
                         .num_phi_convs = 4,
                         .default_cfg = 4.0F,
                         .default_top_k = 16,
                         .default_top_p = 0.95F,
                         .class_names = {}};
  json document = to_json(config);
  document["format"] = "nextscale-model";
  document["version"] = 1;
  document["weights_dtype"] = "f32";
  for (const char* name : {"model.safetensors", "vae.safetensors"}) {
    document["files"].push_back({{"file", name}, {"bytes", 3}, {"sha256", sha256_hex("abc")}});
  }
  return document;
}

struct Case {
  const char* name;
  std::function<void(json&)> change;
  ErrorCode code;
  const char* says;
};

void PrintTo(const Case& wrong, std::ostream* out) { *out << wrong.name; }

class WrongConfig : public testing::TestWithParam<Case> {};

TEST_P(WrongConfig, IsRefusedByName) {
  json document = sound_config();
  GetParam().change(document);
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "abc");
  write_file(folder / "vae.safetensors", "abc");
  write_file(folder / "config.json", document.dump());
  try {
    parse_var_config(open_model_folder(folder.path()).config);
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), GetParam().code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(GetParam().says));
  }
}

using enum ErrorCode;

INSTANTIATE_TEST_SUITE_P(
    All, WrongConfig,
    testing::Values(
        Case{"format", [](json& config) { config["format"] = "other"; }, kMismatch,
             "of another program"},
        Case{"no_object", [](json& config) { config = 7; }, kMismatch, "of another program"},
        Case{"version", [](json& config) { config["version"] = 2; }, kMismatch,
             "has format version 2, wanted 1"},
        Case{"family_absent", [](json& config) { config.erase("family"); }, kBadFile,
             "names no family"},
        Case{"family_other", [](json& config) { config["family"] = "hart"; }, kMismatch,
             "of the family \"hart\""},
        Case{"dtype", [](json& config) { config["weights_dtype"] = "f16"; }, kBadFile,
             "weights_dtype"},
        Case{"files_absent", [](json& config) { config.erase("files"); }, kBadFile,
             "no list 'files'"},
        Case{"file_outside", [](json& config) { config["files"][0]["file"] = "../x"; }, kBadFile,
             "without a plain name"},
        Case{"file_size", [](json& config) { config["files"][0]["bytes"] = 4; }, kBadFile,
             "has 3 bytes, wanted 4"},
        Case{"file_unlisted", [](json& config) { config["files"].erase(1); }, kBadFile,
             "does not list vae.safetensors"},
        Case{"model_absent", [](json& config) { config.erase("model"); }, kBadFile,
             "'model', wanted an object"},
        Case{"layers_zero", [](json& config) { config["model"]["layers"] = 0; }, kBadFile,
             "has 0 for 'layers'"},
        Case{"layers_negative", [](json& config) { config["model"]["layers"] = -1; }, kBadFile,
             "has -1 for 'layers'"},
        Case{"layers_text", [](json& config) { config["model"]["layers"] = "2"; }, kBadFile,
             "has \"2\" for 'layers'"},
        Case{"layers_fraction", [](json& config) { config["model"]["layers"] = 2.5; }, kBadFile,
             "has 2.5 for 'layers'"},
        Case{"layers_giant", [](json& config) { config["model"]["layers"] = UINT64_MAX; }, kBadFile,
             "for 'layers'"},
        Case{"width_product", [](json& config) { config["model"]["width"] = 129; }, kBadFile,
             "heads times head_dim"},
        Case{"schedule_short", [](json& config) { config["model"]["patch_nums"] = {1}; }, kBadFile,
             "for 'patch_nums'"},
        Case{"schedule_start",
             [](json& config) {
               config["model"]["patch_nums"] = {2, 3};
             },
             kBadFile, "for 'patch_nums'"},
        Case{"schedule_descends",
             [](json& config) {
               config["model"]["patch_nums"] = {1, 3, 3};
             },
             kBadFile, "for 'patch_nums'"},
        Case{"schedule_text", [](json& config) { config["model"]["patch_nums"] = "1,2"; }, kBadFile,
             "a list of up to"},
        Case{"epsilon", [](json& config) { config["model"]["norm_epsilon"] = -1.0; }, kBadFile,
             "for 'norm_epsilon'"},
        Case{"channels_ungrouped", [](json& config) { config["vae"]["base_channels"] = 48; },
             kBadFile, "a multiple of 32"},
        Case{"multipliers",
             [](json& config) {
               config["vae"]["channel_multipliers"] = {2, 1};
             },
             kBadFile, "ascending whole numbers"},
        Case{"top_k", [](json& config) { config["defaults"]["top_k"] = 17; }, kBadFile,
             "from 0 to 16"},
        Case{"top_p", [](json& config) { config["defaults"]["top_p"] = 1.5; }, kBadFile,
             "for 'top_p'"},
        Case{"class_names", [](json& config) { config["class_names"] = "imagenet"; }, kBadFile,
             "with 1000 classes"},
        Case{"few_class_names", [](json& config) { config["class_names"] = {"cat"}; }, kBadFile,
             "a list of"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

TEST(VarConfig, SurvivesJson) {
  const json document = sound_config();
  const json again = to_json(parse_var_config(document));
  for (const auto& [key, value] : again.items()) EXPECT_EQ(value, document[key]) << key;
}

TEST(VarConfig, ClassNamesSurviveJson) {
  json document = sound_config();
  document["class_names"] = json(std::vector<std::string>(10, "cat, kitten"));
  EXPECT_EQ(to_json(parse_var_config(document))["class_names"], document["class_names"]);
  document["model"]["classes"] = 1000;
  document["class_names"] = "imagenet";
  EXPECT_EQ(to_json(parse_var_config(document))["class_names"], "imagenet");
}

TEST(ModelFolder, HashNamesTheConfig) {
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "abc");
  write_file(folder / "vae.safetensors", "abc");
  write_file(folder / "config.json", sound_config().dump());
  EXPECT_EQ(open_model_folder(folder.path()).hash, sha256_hex(sound_config().dump()));
}

TEST(ModelFolder, ChangedWeightsFailVerification) {
  const TemporaryFolder folder;
  write_file(folder / "model.safetensors", "abc");
  write_file(folder / "vae.safetensors", "abd");
  write_file(folder / "config.json", sound_config().dump());
  const ModelFolder model = open_model_folder(folder.path());
  EXPECT_THAT([&] { verify_model_folder(model); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("vae.safetensors")));
}

TEST(ModelFolder, RawCheckpointIsToldToConvert) {
  EXPECT_THAT([] { open_model_folder(test_data("var/tiny_a/var.pth")); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("nextscale convert")));
  EXPECT_THAT([] { open_model_folder(test_data("var/tiny_a")); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("nextscale convert")));
}

TEST(ModelFolder, AbsentFolderIsNotFound) {
  try {
    open_model_folder("/no/such/folder");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), kNotFound);
  }
}

}  // namespace
}  // namespace nextscale
