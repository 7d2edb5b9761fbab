// SPDX-License-Identifier: Apache-2.0
// Conversion of Infinity checkpoints: what comes out, and what is refused. What all families share
// (stopping, full disks, folders in the way) is tested with VAR.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_infinity.h"
#include "apps/random_checkpoint/random_t5.h"
#include "models/infinity/convert.h"
#include "models/infinity/infinity_checkpoint.h"
#include "models/infinity/infinity_tensors.h"
#include "models/infinity/published.h"
#include "models/text/convert_t5.h"
#include "tests/weights/convert_checks.h"
#include "tests/weights/temporary_folder.h"
#include "weights/model_folder.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

InfinityConfig tiny_config() {
  return random_infinity_config({.layers = 2,
                                 .chunks = 2,
                                 .heads = 2,
                                 .head_dim = 16,
                                 .pool_heads = 2,
                                 .text_channels = 24,
                                 .text_tokens = 7,
                                 .latent_channels = 3,
                                 .patchify = true,
                                 .base_channels = 24,
                                 .multipliers = {1, 2},
                                 .num_res_blocks = 1});
}

class ConvertInfinity : public testing::Test {
 protected:
  ConvertInfinity() {
    write_zeros(folder_ / "infinity.pth", infinity_transformer_tensors(config_));
    write_zeros(folder_ / "vae.pth", infinity_vae_tensors(config_));
    options_ = {.transformer = folder_ / "infinity.pth",
                .vae = folder_ / "vae.pth",
                .output = folder_ / "out",
                .dtype = DType::kF32};
  }

  // The error of converting a transformer whose tensors were changed.
  std::string error_with(const std::function<void(std::vector<TensorInfo>&)>& change) {
    std::vector<TensorInfo> tensors = infinity_transformer_tensors(config_);
    change(tensors);
    write_zeros(folder_ / "infinity.pth", tensors);
    return error();
  }

  std::string error() {
    try {
      convert_infinity(options_);
      return "no error";
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(options_.output)) << "something was left";
      return error.what();
    }
  }

  TemporaryFolder folder_;
  InfinityConfig config_ = tiny_config();
  ConvertOptions options_;
};

TEST_F(ConvertInfinity, TakesATextEncoderAlong) {
  T5Config t5{.layers = 1,
              .width = config_.text_channels,
              .heads = 2,
              .head_dim = 4,
              .ffn_width = 8,
              .vocab = 300,
              .buckets = 32,
              .max_distance = 128};
  write_random_t5(folder_ / "t5", t5, 1, 1);
  options_.text_encoder = folder_ / "t5";
  options_.text_dtype = DType::kI8;
  convert_infinity(options_);
  const ModelFolder model = open_model_folder(options_.output);
  EXPECT_NO_THROW(verify_model_folder(model));
  EXPECT_EQ(model.files.size(), 4U);
  EXPECT_EQ(model.config.at("text_encoder"), to_json(t5));
  EXPECT_TRUE(std::filesystem::exists(options_.output / kTokenizerName));
  std::filesystem::remove_all(options_.output);
  t5.width += 1;
  write_random_t5(folder_ / "t5", t5, 1, 1);
  EXPECT_THAT(error(), HasSubstr("features of 25 channels, the transformer reads 24"));
}

class ConvertInfinityGolden : public testing::TestWithParam<std::tuple<const char*, DType>> {
 protected:
  ConvertOptions options() const {
    const auto [name, dtype] = GetParam();
    const std::filesystem::path source = test_data(fmt::format("infinity/{}", name));
    return {.transformer = source / golden().at("files").at("transformer"),
            .vae = source / "vae.pth",
            .output = folder_ / "out",
            .dtype = dtype};
  }
  static nlohmann::json golden() {
    const auto [name, dtype] = GetParam();
    return nlohmann::json::parse(
        read_file(test_data(fmt::format("infinity/{}/config.json", name))));
  }

  TemporaryFolder folder_;
};

TEST_P(ConvertInfinityGolden, KeepsEveryValue) {
  convert_infinity(options());
  const ModelFolder model = open_model_folder(folder_ / "out");
  EXPECT_NO_THROW(verify_model_folder(model));
  const auto transformer = Checkpoint::open(options().transformer);
  const auto vae = Checkpoint::open(options().vae);
  expect_same_values(find_infinity_transformer(*transformer), SafetensorsFile(model.transformer()));
  expect_same_values(find_infinity_vae(*vae), SafetensorsFile(model.vae()));
}

TEST_P(ConvertInfinityGolden, FindsTheGeometry) {
  const InfinityConfig config = convert_infinity(options());
  const nlohmann::json model = golden().at("model");
  EXPECT_EQ(config.layers, model["depth"]);
  EXPECT_EQ(config.chunks, model["block_chunks"]);
  EXPECT_EQ(config.width, model["embed_dim"]);
  EXPECT_EQ(config.heads, model["num_heads"]);
  EXPECT_EQ(config.ffn_width, model["ffn_hidden"]);
  EXPECT_EQ(config.pool_heads, model["pool_heads"]);
  EXPECT_EQ(config.text_channels, model["text_channels"]);
  EXPECT_EQ(config.text_tokens, model["text_maxlen"]);
  EXPECT_EQ(config.latent_channels, model["d_vae"]);
  EXPECT_EQ(config.token_bits(), model["token_bits"]);
  EXPECT_EQ(config.patchify, model["apply_spatial_patchify"] == 1);
  const nlohmann::json vae = golden().at("vae");
  EXPECT_EQ(config.base_channels, vae["ch"]);
  EXPECT_EQ(config.channel_multipliers, vae["ch_mult"].get<std::vector<int64_t>>());
  EXPECT_EQ(config.num_res_blocks, vae["num_res_blocks"]);
}

INSTANTIATE_TEST_SUITE_P(Cases, ConvertInfinityGolden,
                         testing::Combine(testing::Values("tiny_a", "tiny_patchify", "tiny_batch",
                                                          "tiny_sharded"),
                                          testing::Values(DType::kF32, DType::kBF16)));

TEST_F(ConvertInfinity, RoundsOnlyTheMatricesOfLayers) {
  options_.existing = ExistingFolder::kReplaceModel;
  for (const DType dtype : {DType::kBF16, DType::kI8}) {
    options_.dtype = dtype;
    convert_infinity(options_);
    const SafetensorsFile stored(options_.output / kTransformerName);
    EXPECT_EQ(stored.find("block_chunks.1.module.0.ffn.fc1.weight")->dtype, dtype);
    EXPECT_EQ(stored.find("block_chunks.1.module.0.ada_gss")->dtype, DType::kF32);
    EXPECT_EQ(stored.find("shared_ada_lin.1.weight")->dtype, DType::kF32);
  }
}

TEST_F(ConvertInfinity, TakesBothNamingsOfTheVae) {
  convert_infinity(options_);
  std::vector<TensorInfo> tensors = infinity_vae_tensors(config_);
  for (TensorInfo& tensor : tensors) tensor.name = "vae/" + wrapped_vae_name(tensor.name);
  tensors.push_back({"ema/decoder.conv_in.conv.weight", DType::kF32, Shape{1}});
  tensors.push_back({"opt_vae/state/0/exp_avg", DType::kF32, Shape{2}});
  write_zeros(folder_ / "wrapped.pth", tensors);
  const std::vector<TensorInfo> plain = SafetensorsFile(options_.output / kVaeName).tensors();
  options_.vae = folder_ / "wrapped.pth";
  options_.existing = ExistingFolder::kReplaceModel;
  convert_infinity(options_);
  const SafetensorsFile wrapped(options_.output / kVaeName);
  ASSERT_EQ(wrapped.tensors().size(), plain.size());
  for (const TensorInfo& tensor : plain) EXPECT_NE(wrapped.find(tensor.name), nullptr);
}

TEST_F(ConvertInfinity, TakesTheTransformerFromATrainingCheckpoint) {
  std::vector<TensorInfo> tensors;
  for (const char* prefix : {"trainer/gpt_fsdp/", "trainer/gpt_ema_fsdp/"}) {
    for (const TensorInfo& tensor : infinity_transformer_tensors(config_)) {
      tensors.push_back({prefix + tensor.name, tensor.dtype, tensor.shape});
    }
  }
  write_zeros(folder_ / "infinity.pth", tensors);
  convert_infinity(options_);
  EXPECT_EQ(open_model_folder(options_.output).family, "infinity");
}

TEST_F(ConvertInfinity, ReadsShards) {
  write_random_infinity(folder_ / "weights", config_, 1, 3);
  options_.transformer = folder_ / "weights";
  convert_infinity(options_);
  const auto shards = Checkpoint::open(folder_ / "weights");
  expect_same_values(find_infinity_transformer(*shards),
                     SafetensorsFile(options_.output / kTransformerName));
}

TEST_F(ConvertInfinity, RecommendsWhatTheAuthorsPublish) {
  const InfinityConfig published = infinity_config(*find_published_infinity("8b"));
  EXPECT_EQ(published.token_bits(), 56);
  EXPECT_EQ(published.pixels_per_token(), 16);
  EXPECT_EQ(convert_infinity(options_).default_size, "1M");
  options_.size = "4:3@0.25M";
  options_.existing = ExistingFolder::kReplaceModel;
  EXPECT_EQ(convert_infinity(options_).default_size, "4:3@0.25M");
}

TEST_F(ConvertInfinity, RefusesASizeThatIsNone) {
  options_.size = "huge";
  EXPECT_THAT(error(), HasSubstr("--size: got 'huge'"));
}

TEST_F(ConvertInfinity, AsksForTheVae) {
  options_.vae.clear();
  EXPECT_THAT(error(), HasSubstr("--vae is missing"));
}

TEST_F(ConvertInfinity, RefusesSidesOfScales) {
  options_.patch_nums = {1, 2};
  EXPECT_THAT(error(), HasSubstr("--patch-nums is not for Infinity"));
}

TEST_F(ConvertInfinity, NamesMissingAndMisshapenTensorsTogether) {
  const std::string message = error_with([](std::vector<TensorInfo>& tensors) {
    named(tensors, "head.bias").shape = Shape{3};
    std::erase_if(tensors, [](const TensorInfo& tensor) {
      return tensor.name == "block_chunks.1.module.0.ca_norm.bias";
    });
  });
  EXPECT_THAT(message, HasSubstr("'head.bias' has shape [3], wanted [24]"));
  EXPECT_THAT(message, HasSubstr("'block_chunks.1.module.0.ca_norm.bias' is missing"));
}

TEST_F(ConvertInfinity, RefusesImpossibleGeometry) {
  const std::string message = error_with([](std::vector<TensorInfo>& tensors) {
    named(tensors, "block_chunks.0.module.0.sa.scale_mul_1H11").shape = Shape{1, 16, 1, 1};
  });
  EXPECT_THAT(message, HasSubstr("2 for 'head_dim'"));
}

TEST_F(ConvertInfinity, NoticesSwappedFiles) {
  std::swap(options_.transformer, options_.vae);
  EXPECT_THAT(error(), HasSubstr("it looks like the decoder of pictures"));
}

TEST_F(ConvertInfinity, NoticesAnotherModelsVae) {
  options_.vae = test_data("infinity/tiny_a/vae.pth");
  EXPECT_THAT(error(), HasSubstr("has tokens of 12 bits"));
}

TEST_F(ConvertInfinity, NoticesAVqvae) {
  options_.vae = test_data("var/tiny_a/vae.pth");
  EXPECT_THAT(error(), HasSubstr("holds the VQVAE of a VAR model"));
}

TEST_F(ConvertInfinity, NoticesAVarTransformer) {
  options_.transformer = test_data("var/tiny_a/var.pth");
  EXPECT_THAT(error(), HasSubstr("it looks like a VAR transformer"));
}

TEST_F(ConvertInfinity, NoticesACheckpointWithoutLayers) {
  const std::string message = error_with([](std::vector<TensorInfo>& tensors) {
    std::erase_if(tensors, [](const TensorInfo& tensor) {
      return tensor.name.starts_with("block_chunks.0");
    });
  });
  EXPECT_THAT(message, HasSubstr("holds no layer"));
}

TEST(InfinityVaeNames, WrappersRepeatTheKindOfTheLayer) {
  EXPECT_EQ(wrapped_vae_name("decoder.conv_in.weight"), "decoder.conv_in.conv.weight");
  EXPECT_EQ(wrapped_vae_name("decoder.mid.block_1.norm1.bias"),
            "decoder.mid.block_1.norm1.norm.bias");
  EXPECT_EQ(wrapped_vae_name("decoder.up.1.upsample.conv.bias"),
            "decoder.up.1.upsample.conv.conv.bias");
}

}  // namespace
}  // namespace nextscale
