// SPDX-License-Identifier: Apache-2.0
// Models that read prompts: a picture depends on its own prompt alone, memory is as planned, and
// every cache policy works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "models/infinity/convert.h"
#include "nextscale/engine.h"
#include "policies/registry.h"
#include "support/small_infinity.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

using Pictures = std::map<std::pair<int64_t, int64_t>, Image>;  // by prompt and number

class PromptsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    const InfinityFiles files = write_small_infinity(folder_->path());
    convert_infinity({.transformer = files.transformer,
                      .vae = files.vae,
                      .output = folder_->path() / "model",
                      .size = "5scales",
                      .dtype = DType::kF32,
                      .text_encoder = files.text_encoder,
                      .text_dtype = DType::kF32});
  }
  static void TearDownTestSuite() { delete folder_; }

  static EngineOptions options(Precision dtype = Precision::kF32) {
    return {.model = (folder_->path() / "model").string(), .dtype = dtype};
  }
  static Request request(std::vector<Prompt> prompts, int64_t batch) {
    Request result;
    result.prompts = std::move(prompts);
    result.seed = 4;
    result.cfg = 3.0F;
    result.batch = batch;
    return result;
  }
  static Pictures generate(Engine& engine, const Request& request) {
    Pictures pictures;
    Events events;
    events.on_image = [&](GeneratedImage image) {
      pictures[{image.subject, image.image_index}] = std::move(image.image);
    };
    engine.generate(request, events);
    return pictures;
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

const std::vector<Prompt> kPrompts{{.text = "a red apple"},
                                   {.text = ""},
                                   {.text = "a dog on a blue background", .negative = "blurred"},
                                   {.text = "🍎"}};

TEST_F(PromptsTest, PromptsOfDifferentLengthsDoNotTouchEachOther) {
  for (const Precision dtype : {Precision::kF32, Precision::kBF16, Precision::kInt8}) {
    Engine engine(options(dtype));
    const Pictures together = generate(engine, request(kPrompts, 4));
    ASSERT_EQ(together.size(), kPrompts.size());
    EXPECT_EQ(together, generate(engine, request(kPrompts, 3)));
    for (size_t index = 0; index < kPrompts.size(); ++index) {
      const Pictures alone = generate(engine, request({kPrompts[index]}, 1));
      EXPECT_EQ(together.at({static_cast<int64_t>(index), 0}), alone.at({0, 0})) << index;
    }
  }
}

TEST_F(PromptsTest, PromptsAndNegativesShowInThePicture) {
  Engine engine(options());
  const Pictures pictures = generate(
      engine,
      request({{.text = "a cat"}, {.text = "a dog"}, {.text = "a cat", .negative = "fog"}}, 3));
  EXPECT_NE(pictures.at({0, 0}), pictures.at({1, 0}));
  EXPECT_NE(pictures.at({0, 0}), pictures.at({2, 0}));
}

TEST_F(PromptsTest, WeightsArePredictedToTheByte) {
  for (const Precision dtype : {Precision::kF32, Precision::kBF16, Precision::kInt8}) {
    for (const Backend backend : {Backend::kCpu, Backend::kReference}) {
      EngineOptions with = options(dtype);
      with.backend = backend;
      Engine engine(with);
      const Plan plan = engine.plan(request(kPrompts, 2));
      engine.load();
      EXPECT_EQ(engine.loaded_bytes(), plan.weights);
      EXPECT_GT(plan.text_encoder, 0U);
    }
  }
}

// More than are encoded at a time: the later ones are when their turn comes.
TEST_F(PromptsTest, ManyPromptsAreEncodedInTurn) {
  std::vector<Prompt> prompts;
  for (int number = 0; number < 150; ++number) {
    prompts.push_back({.text = std::to_string(number) + std::string(60, 'a')});
  }
  Engine engine(options());
  Request many = request(prompts, 50);
  many.cfg = 1.0F;
  const Pictures pictures = generate(engine, many);
  ASSERT_EQ(pictures.size(), prompts.size());
  many.prompts = {prompts.back()};
  many.batch = 1;
  EXPECT_EQ(pictures.at({149, 0}), generate(engine, many).at({0, 0}));
}

TEST_F(PromptsTest, EveryPolicyRunsWithACalibrationOverPrompts) {
  const std::string file = (folder_->path() / "calibration.safetensors").string();
  Engine(options()).calibrate({.request = request(kPrompts, 0), .samples = 6, .output = file}, {});
  EngineOptions with = options();
  with.calibration = file;
  Engine engine(with);
  Request asked = request(kPrompts, 2);
  const Pictures full = generate(engine, asked);
  const uint64_t full_bytes = engine.plan(asked).kv_cache;
  for (const PolicyRow& policy : policy_table()) {
    if (policy.name == "full") continue;
    for (const char* budget : {"100%", "30%", "1tok"}) {
      asked.kv = std::string(policy.name) + ":budget=" + budget;
      const Pictures pictures = generate(engine, asked);
      EXPECT_EQ(pictures.size(), kPrompts.size()) << asked.kv;
      if (std::string_view(budget) == "100%") {
        EXPECT_EQ(pictures, full) << asked.kv;
      } else {
        EXPECT_LT(engine.plan(asked).kv_cache, full_bytes) << asked.kv;
      }
    }
  }
}

TEST_F(PromptsTest, GuidanceBetweenLayersTakesThePlaceOfThatOnLogits) {
  Engine engine(options());
  Request asked = request({kPrompts.front()}, 1);
  const Pictures on_logits = generate(engine, asked);
  asked.cfg_layers = {0};
  EXPECT_EQ(generate(engine, asked), on_logits);
  asked.cfg_layers = {-1};
  EXPECT_NE(generate(engine, asked), on_logits);
  asked.cfg_layers = {-3};  // of two layers
  EXPECT_THROW(generate(engine, asked), Error);
}

}  // namespace
}  // namespace nextscale
