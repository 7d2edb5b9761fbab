// SPDX-License-Identifier: Apache-2.0
// Conversion end to end: what comes out, what is refused, and that a folder appears whole or not.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_checkpoint.h"
#include "core/error_format.h"
#include "models/var/convert.h"
#include "models/var/var_tensors.h"
#include "tests/weights/convert_checks.h"
#include "tests/weights/temporary_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

VarConfig tiny_config() {
  return random_var_config({.depth = 1,
                            .width = 64,
                            .heads = 1,
                            .patch_nums = {1, 2, 3},
                            .vocab = 16,
                            .latent_channels = 4,
                            .classes = 5,
                            .base_channels = 32});
}

class ConvertVar : public testing::Test {
 protected:
  ConvertVar() {
    write_zeros(folder_ / "var.pth", var_transformer_tensors(config_));
    write_zeros(folder_ / "vae.pth", var_vae_tensors(config_));
    options_ = {.transformer = folder_ / "var.pth",
                .vae = folder_ / "vae.pth",
                .output = folder_ / "out",
                .patch_nums = {1, 2, 3},
                .dtype = DType::kF32};
  }

  // The error of converting a transformer whose tensors were changed.
  std::string error_with(const std::function<void(std::vector<TensorInfo>&)>& change) {
    std::vector<TensorInfo> tensors = var_transformer_tensors(config_);
    change(tensors);
    write_zeros(folder_ / "var.pth", tensors);
    return error();
  }

  std::string error() {
    try {
      convert_var(options_);
      return "no error";
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(options_.output)) << "something was left";
      return error.what();
    }
  }

  TemporaryFolder folder_;
  VarConfig config_ = tiny_config();
  ConvertOptions options_;
};

class ConvertGolden : public testing::TestWithParam<std::tuple<const char*, DType>> {};

TEST_P(ConvertGolden, KeepsEveryValue) {
  const auto [name, dtype] = GetParam();
  const TemporaryFolder folder;
  const std::filesystem::path source = test_data(fmt::format("var/{}", name));
  convert_var({.transformer = source / "var.pth",
               .vae = source / "vae.pth",
               .output = folder / "out",
               .patch_nums = {},
               .dtype = dtype});
  const ModelFolder model = open_model_folder(folder / "out");
  EXPECT_NO_THROW(verify_model_folder(model));
  EXPECT_EQ(model.weights_dtype, dtype);
  expect_same_values({Checkpoint::open(source / "var.pth").get(), ""},
                     SafetensorsFile(model.transformer()));
  expect_same_values({Checkpoint::open(source / "vae.pth").get(), ""},
                     SafetensorsFile(model.vae()));
}

TEST_P(ConvertGolden, FindsTheGeometry) {
  const auto [name, dtype] = GetParam();
  const TemporaryFolder folder;
  const std::filesystem::path source = test_data(fmt::format("var/{}", name));
  const auto golden = nlohmann::json::parse(read_file(source / "config.json"));
  const VarConfig config = convert_var({.transformer = source / "var.pth",
                                        .vae = source / "vae.pth",
                                        .output = folder / "out",
                                        .patch_nums = {},
                                        .dtype = dtype});
  EXPECT_EQ(config.layers, golden["model"]["depth"]);
  EXPECT_EQ(config.width, golden["model"]["embed_dim"]);
  EXPECT_EQ(config.heads, golden["model"]["num_heads"]);
  EXPECT_EQ(config.shared_adaln, golden["model"]["shared_aln"]);
  EXPECT_EQ(config.classes, golden["model"]["num_classes"]);
  EXPECT_EQ(config.patch_nums, golden["model"]["patch_nums"].get<std::vector<int64_t>>());
  EXPECT_EQ(config.vocab, golden["vae"]["vocab_size"]);
  EXPECT_EQ(config.latent_channels, golden["vae"]["z_channels"]);
  EXPECT_EQ(config.base_channels, golden["vae"]["ch"]);
  EXPECT_EQ(config.channel_multipliers, golden["vae"]["ch_mult"].get<std::vector<int64_t>>());
  EXPECT_EQ(config.num_phi_convs, golden["vae"]["share_quant_resi"]);
}

INSTANTIATE_TEST_SUITE_P(Cases, ConvertGolden,
                         testing::Combine(testing::Values("tiny_a", "tiny_schedule",
                                                          "tiny_shared_aln"),
                                          testing::Values(DType::kF32, DType::kBF16)));

TEST(ConvertRandom, RoundTripKeepsEveryValue) {
  const TemporaryFolder folder;
  const VarConfig config = tiny_config();
  write_random_transformer(folder / "var.pth", config, 1, Buffers::kOfficial);
  write_random_vae(folder / "vae.pth", config, 2, Buffers::kOfficial);
  convert_var({.transformer = folder / "var.pth",
               .vae = folder / "vae.pth",
               .output = folder / "out",
               .patch_nums = {},
               .dtype = DType::kF32});
  const SafetensorsFile stored(folder / "out" / kTransformerName);
  expect_same_values({Checkpoint::open(folder / "var.pth").get(), ""}, stored);
  EXPECT_EQ(stored.tensors().size(), var_transformer_tensors(config).size()) << "buffers were kept";
}

TEST(ConvertRandom, SameSeedSameFile) {
  const TemporaryFolder folder;
  write_random_vae(folder / "a.pth", tiny_config(), 3, Buffers::kNone);
  write_random_vae(folder / "b.pth", tiny_config(), 3, Buffers::kNone);
  const auto values = [&](const char* name) {
    const auto checkpoint = Checkpoint::open(folder / name);
    std::vector<float> result(16 * 4);
    checkpoint->read("quantize.embedding.weight", std::as_writable_bytes(std::span(result)));
    return result;
  };
  EXPECT_EQ(values("a.pth"), values("b.pth"));
}

TEST_F(ConvertVar, TakesBothNetworksFromATrainingCheckpoint) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](const std::string& prefix, const std::vector<TensorInfo>& part) {
    for (const TensorInfo& tensor : part)
      tensors.push_back({prefix + tensor.name, tensor.dtype, tensor.shape});
  };
  add("trainer/var_wo_ddp/", var_transformer_tensors(config_));
  add("trainer/vae_local/", var_vae_tensors(config_));
  tensors.push_back({"trainer/var_opt/state/0/exp_avg", DType::kF32, Shape{2}});
  write_zeros(folder_ / "ar-ckpt-last.pth", tensors);
  options_.transformer = folder_ / "ar-ckpt-last.pth";
  options_.vae.clear();
  convert_var(options_);
  EXPECT_EQ(open_model_folder(options_.output).family, "var");
}

TEST_F(ConvertVar, NamesMissingAndMisshapenTensorsTogether) {
  const std::string message = error_with([](std::vector<TensorInfo>& tensors) {
    named(tensors, "head.bias").shape = Shape{3};
    std::erase_if(
        tensors, [](const TensorInfo& tensor) { return tensor.name == "blocks.0.ffn.fc2.weight"; });
  });
  EXPECT_THAT(message, HasSubstr("'head.bias' has shape [3], wanted [16]"));
  EXPECT_THAT(message, HasSubstr("'blocks.0.ffn.fc2.weight' is missing"));
}

TEST_F(ConvertVar, RefusesWeightsThatAreNoFloats) {
  const std::string message = error_with(
      [](std::vector<TensorInfo>& tensors) { named(tensors, "head.bias").dtype = DType::kI64; });
  EXPECT_THAT(message, HasSubstr("'head.bias' has the type i64"));
}

TEST_F(ConvertVar, RefusesImpossibleGeometry) {
  const std::string message = error_with([](std::vector<TensorInfo>& tensors) {
    named(tensors, "class_emb.weight").shape = Shape{1, 64};
  });
  EXPECT_THAT(message, HasSubstr("0 for 'classes'"));
}

TEST_F(ConvertVar, SaysWhichFamilyAnotherCheckpointLooksLike) {
  options_.transformer = test_data("infinity/tiny_a/infinity.pth");
  EXPECT_THAT(error(), HasSubstr("it looks like an Infinity transformer"));
}

TEST_F(ConvertVar, NoticesSwappedFiles) {
  std::swap(options_.transformer, options_.vae);
  EXPECT_THAT(error(), HasSubstr("it looks like the decoder of pictures"));
}

TEST_F(ConvertVar, NoticesAnotherModelsDecoder) {
  options_.vae = test_data("var/tiny_a/vae.pth");
  EXPECT_THAT(error(),
              HasSubstr("has 128 codes of 16 channels, but the transformer wants 16 of 4"));
}

TEST_F(ConvertVar, AsksForAScheduleThatTheFileDoesNotTell) {
  options_.patch_nums.clear();
  EXPECT_THAT(error(), HasSubstr("give --patch-nums"));
}

TEST_F(ConvertVar, RefusesAScheduleThatDoesNotFit) {
  options_.patch_nums = {1, 2, 4};
  EXPECT_THAT(error(), HasSubstr("the schedule 1,2,4 does not fit"));
}

TEST_F(ConvertVar, RefusesAScheduleThatContradictsTheFile) {
  options_.transformer = test_data("var/tiny_a/var.pth");
  options_.patch_nums = {1, 2, 3, 5};
  EXPECT_THAT(error(), HasSubstr("contradicts"));
}

TEST_F(ConvertVar, KeepsAFolderThatIsInTheWay) {
  std::filesystem::create_directory(options_.output);
  write_file(options_.output / "thesis.txt", "mine");
  EXPECT_THROW(convert_var(options_), Error);
  options_.existing = ExistingFolder::kReplaceModel;
  EXPECT_THROW(convert_var(options_), Error);
  EXPECT_EQ(read_file(options_.output / "thesis.txt"), "mine");
}

TEST_F(ConvertVar, ReplacesAModelOnlyWhenAsked) {
  convert_var(options_);
  EXPECT_THROW(convert_var(options_), Error);
  options_.existing = ExistingFolder::kReplaceModel;
  options_.dtype = DType::kBF16;
  convert_var(options_);
  EXPECT_EQ(open_model_folder(options_.output).weights_dtype, DType::kBF16);
  EXPECT_EQ(folder_.names(), (std::set<std::string>{"out", "var.pth", "vae.pth"}));
}

TEST_F(ConvertVar, StoresMatricesInInt8ExceptTheWayFromLatents) {
  options_.dtype = DType::kI8;
  convert_var(options_);
  const SafetensorsFile stored(options_.output / kTransformerName);
  EXPECT_EQ(open_model_folder(options_.output).weights_dtype, DType::kI8);
  for (const char* name : {"blocks.0.ffn.fc1", "blocks.0.ada_lin.1", "head_nm.ada_lin.1", "head"}) {
    const TensorInfo& matrix = *stored.find(std::string(name) + ".weight");
    EXPECT_EQ(matrix.dtype, DType::kI8) << name;
    EXPECT_EQ(stored.find(matrix.name + "_factors")->shape, Shape{matrix.shape[0]}) << name;
  }
  for (const char* name : {"word_embed.weight", "class_emb.weight", "pos_1LC", "head.bias"}) {
    EXPECT_EQ(stored.find(name)->dtype, DType::kF32) << name;
  }
}

TEST_F(ConvertVar, ReplacesNoModelThatHasOtherFilesBesideIt) {
  convert_var(options_);
  write_file(options_.output / "notes.txt", "mine");
  options_.existing = ExistingFolder::kReplaceModel;
  EXPECT_THAT([&] { convert_var(options_); },
              testing::ThrowsMessage<Error>(HasSubstr("'notes.txt', which is not part")));
}

TEST_F(ConvertVar, ReportsProgressUpToTheEnd) {
  uint64_t last = 0;
  uint64_t all = 0;
  convert_var(options_, [&](uint64_t done, uint64_t total, std::string_view what) {
    EXPECT_GE(done, last);
    EXPECT_FALSE(what.empty());
    last = done;
    all = total;
  });
  EXPECT_EQ(last, all);
}

TEST_F(ConvertVar, StoppedHalfwayLeavesNothing) {
  const auto stop = [](uint64_t done, uint64_t total, std::string_view) {
    if (done > total / 2) throw Error(ErrorCode::kCancelled, "stopped");
  };
  EXPECT_THROW(convert_var(options_, stop), Error);
  EXPECT_EQ(folder_.names(), (std::set<std::string>{"var.pth", "vae.pth"}));
}

TEST_F(ConvertVar, FullDiskLeavesNothing) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{50'000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  ErrorCode code = ErrorCode::kInternal;
  try {
    convert_var(options_);
  } catch (const Error& error) {
    code = error.code();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(code, ErrorCode::kIo);
  EXPECT_EQ(folder_.names(), (std::set<std::string>{"var.pth", "vae.pth"}));
}

TEST_F(ConvertVar, KilledHalfwayLeavesNoModelAndTheNextRunCleansUp) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    convert_var(options_, [](uint64_t done, uint64_t total, std::string_view) {
      if (done > total / 2) ::raise(SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(options_.output));
  EXPECT_EQ(folder_.names().size(), 3U) << "one staging folder beside the two sources";
  convert_var(options_);
  EXPECT_EQ(folder_.names(), (std::set<std::string>{"out", "var.pth", "vae.pth"}));
}

}  // namespace
}  // namespace nextscale
