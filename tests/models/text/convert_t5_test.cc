// SPDX-License-Identifier: Apache-2.0
// From the folders that Hugging Face publishes to files of a model folder.
#include "models/text/convert_t5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_t5.h"
#include "apps/random_checkpoint/random_tensors.h"
#include "core/int8_row.h"
#include "support/temporary_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

T5Config small_config() {
  return {.layers = 2,
          .width = 24,
          .heads = 3,
          .head_dim = 8,
          .ffn_width = 40,
          .vocab = 300,
          .buckets = 32,
          .max_distance = 128};
}

class ConvertT5 : public testing::Test {
 protected:
  ConvertT5() { write_random_t5(source(), small_config(), 1, 2); }

  fs::path source() const { return folder_.path() / "t5"; }
  fs::path output() const { return folder_.path() / "out"; }

  void convert(DType dtype) const {
    const T5Source t5 = open_t5(source());
    const std::vector<FolderFile> files{t5_weights(t5, dtype), t5_tokenizer(t5)};
    write_model_folder({.transformer = {}, .vae = {}, .output = output()}, nlohmann::json::object(),
                       files, {});
  }

  SafetensorsFile stored() const { return SafetensorsFile(output() / kTextEncoderName); }

  std::string error() const {
    try {
      open_t5(source());
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  // Writes torch shards with their index instead of the safetensors.
  void write_torch_shards() const {
    for (const auto& entry : fs::directory_iterator(source())) {
      if (entry.path().filename().string().starts_with("model")) fs::remove(entry.path());
    }
    const std::vector<TensorInfo> all = t5_tensors(small_config());
    const size_t half = all.size() / 2;
    nlohmann::json places;
    for (size_t index = 0; index < all.size(); ++index) {
      places[all[index].name] = index < half ? "pytorch_model-1.bin" : "pytorch_model-2.bin";
    }
    const auto middle = all.begin() + static_cast<ptrdiff_t>(half);
    write_torch(source() / "pytorch_model-1.bin", random_contents({all.begin(), middle}, 1));
    write_torch(source() / "pytorch_model-2.bin", random_contents({middle, all.end()}, 1));
    std::ofstream(source() / "pytorch_model.bin.index.json")
        << nlohmann::json{{"weight_map", places}};
  }

  TemporaryFolder folder_;
};

std::vector<float> values_of(const SafetensorsFile& file, const std::string& name) {
  const ConstTensorView view = file.view(name);
  std::vector<float> values(static_cast<size_t>(view.shape.num_elements()));
  copy_to_f32(view, values);
  return values;
}

const std::string kProduct = "encoder.block.1.layer.1.DenseReluDense.wo.weight";

TEST_F(ConvertT5, StoresEveryTensorOfTheEncoder) {
  convert(DType::kF32);
  const SafetensorsFile file = stored();
  const auto checkpoint = Checkpoint::open(source());
  for (const TensorInfo& tensor : t5_tensors(small_config())) {
    std::vector<float> wanted(static_cast<size_t>(tensor.shape.num_elements()));
    checkpoint->read(tensor.name, std::as_writable_bytes(std::span(wanted)));
    EXPECT_EQ(values_of(file, tensor.name), wanted) << tensor.name;
  }
  EXPECT_EQ(fs::file_size(output() / kTokenizerName), fs::file_size(source() / kTokenizerName));
}

TEST_F(ConvertT5, RoundsProductsOnly) {
  convert(DType::kBF16);
  const SafetensorsFile file = stored();
  EXPECT_EQ(file.find(kProduct)->dtype, DType::kBF16);
  for (const std::string_view name : {kT5Embedding, kT5RelativeBias, kT5FinalNorm}) {
    EXPECT_EQ(file.find(name)->dtype, DType::kF32);
  }
}

TEST_F(ConvertT5, Int8RowsStayWithinHalfAFactor) {
  convert(DType::kI8);
  const SafetensorsFile file = stored();
  const TensorInfo& info = *file.find(kProduct);
  ASSERT_EQ(info.dtype, DType::kI8);
  const std::vector<float> factors = values_of(file, kProduct + std::string(kRowFactorsEnding));
  ASSERT_EQ(factors.size(), static_cast<size_t>(info.shape[0]));
  std::vector<float> wanted(static_cast<size_t>(info.shape.num_elements()));
  Checkpoint::open(source())->read(kProduct, std::as_writable_bytes(std::span(wanted)));
  const auto* got = file.view(kProduct).as<int8_t>();
  for (size_t index = 0; index < wanted.size(); ++index) {
    const float factor = factors[index / static_cast<size_t>(info.shape[1])];
    EXPECT_NEAR(factor * static_cast<float>(got[index]), wanted[index], 0.501F * factor);
  }
}

TEST_F(ConvertT5, ReadsTorchShards) {
  write_torch_shards();
  convert(DType::kF32);
  EXPECT_EQ(values_of(stored(), std::string(kT5FinalNorm)).size(), 24U);
}

TEST_F(ConvertT5, TakesTheEmbeddingUnderTheEncodersName) {
  std::vector<TensorInfo> tensors = t5_tensors(small_config());
  tensors.front().name = "encoder.embed_tokens.weight";
  tensors.push_back({"decoder.block.0.layer.0.layer_norm.weight", DType::kF32, Shape{24}});
  fs::remove(source() / "model.safetensors.index.json");
  write_torch(source() / "pytorch_model.bin", random_contents(tensors, 1));
  convert(DType::kF32);
  const SafetensorsFile file = stored();
  EXPECT_NE(file.find(kT5Embedding), nullptr);
  EXPECT_EQ(file.tensors().size(), t5_tensors(small_config()).size());
}

TEST_F(ConvertT5, SaysWhatIsMissing) {
  fs::remove(source() / "model-00002-of-00002.safetensors");
  EXPECT_THAT(error(), HasSubstr("model-00002-of-00002.safetensors"));
  fs::remove(source() / "model.safetensors.index.json");
  EXPECT_THAT(error(), HasSubstr("neither model.safetensors nor pytorch_model.bin"));
  fs::remove(source() / kModelConfigName);
  EXPECT_THAT(error(), HasSubstr("config.json"));
  fs::remove_all(source());
  EXPECT_THAT(error(), HasSubstr("--text-encoder"));
}

TEST_F(ConvertT5, RefusesWeightsOfAnotherSize) {
  T5Config other = small_config();
  other.ffn_width = 41;
  std::ofstream(source() / kModelConfigName) << to_json(other);
  EXPECT_THAT(error(), HasSubstr("DenseReluDense"));
}

TEST_F(ConvertT5, RefusesATokenizerThatIsAbsentOrTooLarge) {
  T5Config other = small_config();
  other.vocab = 20;
  write_random_t5(source(), other, 1, 2);
  EXPECT_THAT(error(), HasSubstr("192 pieces, the encoder's table 20 rows"));
  fs::remove(source() / kTokenizerName);
  EXPECT_THAT(error(), HasSubstr("spiece.model"));
}

TEST_F(ConvertT5, RefusesAnIndexThatNamesItself) {
  std::ofstream(source() / "model.safetensors.index.json")
      << nlohmann::json{{"weight_map", {{kT5Embedding, "model.safetensors.index.json"}}}};
  EXPECT_THAT(error(), HasSubstr("neither safetensors nor a torch file"));
}

}  // namespace
}  // namespace nextscale
