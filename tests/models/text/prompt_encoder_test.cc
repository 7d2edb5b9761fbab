// SPDX-License-Identifier: Apache-2.0
#include "models/text/prompt_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_t5.h"
#include "models/text/convert_t5.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class PromptEncoderTest : public testing::Test {
 protected:
  PromptEncoderTest() {
    const T5Config config{.layers = 1,
                          .width = 24,
                          .heads = 3,
                          .head_dim = 8,
                          .ffn_width = 40,
                          .vocab = 300,
                          .buckets = 32,
                          .max_distance = 128};
    write_random_t5(folder_.path() / "t5", config, 1, 1);
    const T5Source t5 = open_t5(folder_.path() / "t5");
    const std::vector<FolderFile> files{t5_weights(t5, DType::kF32), t5_tokenizer(t5)};
    write_model_folder({.transformer = {}, .vae = {}, .output = folder_.path() / "model"},
                       {{"text_encoder", to_json(config)}}, files, {});
    // What open_model_folder() would read, but for the parts of a picture model.
    model_.path = folder_.path() / "model";
    model_.config = {{"text_encoder", to_json(config)}};
    model_.files = {{std::string(kTextEncoderName), 0, "checksum"}};
  }

  EncodedPrompts encode(const std::vector<std::string>& prompts, const fs::path& cache = {}) const {
    const PromptEncoder encoder(model_, {.compute = DType::kF32, .cache = cache});
    return encoder.encode({.num_threads = 1, .kernels = &kernels::cpu_table()}, prompts);
  }

  std::string error_of(const std::vector<std::string>& prompts) const {
    try {
      encode(prompts);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
  ModelFolder model_;
};

bool same_bits(const Tensor& left, const Tensor& right) {
  return left.shape() == right.shape() &&
         std::memcmp(left.as<float>(), right.as<float>(), left.num_bytes()) == 0;
}

TEST_F(PromptEncoderTest, EncodesEqualPromptsAlike) {
  const EncodedPrompts encoded = encode({"a cat", "", "a  cat "});
  ASSERT_EQ(encoded.features.size(), 3U);
  EXPECT_EQ(encoded.features[0].shape(), (Shape{5, 24}));  // three letters and two beginnings
  EXPECT_EQ(encoded.features[1].shape(), (Shape{1, 24}));
  EXPECT_TRUE(same_bits(encoded.features[0], encoded.features[2]));
  EXPECT_THAT(encoded.notes, ElementsAre());
}

TEST_F(PromptEncoderTest, TheCacheGivesTheSameBits) {
  const fs::path cache = folder_.path() / "cache";
  const EncodedPrompts plain = encode({"a cat", "a dog"});
  const EncodedPrompts first = encode({"a cat"}, cache);
  const EncodedPrompts second = encode({"a dog", "a cat"}, cache);
  EXPECT_TRUE(same_bits(plain.features[0], first.features[0]));
  EXPECT_TRUE(same_bits(plain.features[0], second.features[1]));
  EXPECT_TRUE(same_bits(plain.features[1], second.features[0]));
  EXPECT_EQ(std::distance(fs::directory_iterator(cache), fs::directory_iterator()), 2);
}

TEST_F(PromptEncoderTest, CachedPromptsNeedNoWeights) {
  const fs::path cache = folder_.path() / "cache";
  const EncodedPrompts before = encode({"a cat"}, cache);
  const PromptEncoder encoder(model_, {.compute = DType::kF32, .cache = cache});
  const std::vector<std::string> prompts{"a cat"};
  const Context without_kernels{.num_threads = 1};
  EXPECT_TRUE(same_bits(before.features[0], encoder.encode(without_kernels, prompts).features[0]));
}

TEST_F(PromptEncoderTest, NotesWhatWasCutAndWhatIsDamaged) {
  const fs::path cache = folder_.path() / "cache";
  const std::string long_prompt(1000, 'a');
  EXPECT_THAT(encode({"a cat", long_prompt}, cache).notes,
              ElementsAre(HasSubstr("prompt 2 of 2: the prompt has 1001 tokens")));
  for (const auto& entry : fs::directory_iterator(cache)) std::ofstream(entry.path()) << "x";
  EXPECT_THAT(encode({"a cat"}, cache).notes, ElementsAre(HasSubstr("damaged")));
  EXPECT_THAT(encode({"a cat"}, cache).notes, ElementsAre());
}

TEST_F(PromptEncoderTest, SaysWhichPromptItRefuses) {
  EXPECT_THAT(error_of({"a cat", "\xff"}), HasSubstr("prompt 2 of 2: prompt: byte 0"));
}

TEST_F(PromptEncoderTest, SaysThatTheModelHasNoTextEncoder) {
  model_.config = nlohmann::json::object();
  EXPECT_THAT(error_of({"a cat"}), HasSubstr("give --text-features"));
}

}  // namespace
}  // namespace nextscale
