// SPDX-License-Identifier: Apache-2.0
#include "text/text_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "nextscale/error.h"
#include "support/temporary_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

constexpr TextFeatureLimits kLimits{.channels = 4, .max_tokens = 6};

class TextFeaturesTest : public testing::Test {
 protected:
  // A file of these f32 tensors, all elements `value`.
  std::filesystem::path write(const std::vector<std::pair<std::string, Shape>>& tensors,
                              float value = 0.25F) const {
    std::vector<TensorInfo> infos;
    for (const auto& [name, shape] : tensors) infos.push_back({name, DType::kF32, shape});
    SafetensorsWriter writer(folder_.path() / "features.safetensors", infos);
    for (const TensorInfo& info : infos) {
      const std::vector<float> values(static_cast<size_t>(info.shape.num_elements()), value);
      writer.write(std::as_bytes(std::span(values)));
    }
    writer.finish();
    return folder_.path() / "features.safetensors";
  }

  static std::string error_of(const std::filesystem::path& path) {
    try {
      read_text_features(path, kLimits);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
};

TEST_F(TextFeaturesTest, ReadsOnePrompt) {
  const TextFeatures features =
      read_text_features(write({{"text_features", {3, 4}}, {"logits.0", {7}}}), kLimits);
  ASSERT_EQ(features.prompts.size(), 1U);
  EXPECT_EQ(features.prompts[0].shape(), (Shape{3, 4}));
  EXPECT_EQ(features.prompts[0].as<float>()[11], 0.25F);
  EXPECT_TRUE(features.negatives.empty());
}

TEST_F(TextFeaturesTest, ReadsSeveralWithNegatives) {
  const TextFeatures features = read_text_features(write({{"text_features.0", {3, 4}},
                                                          {"text_features.1", {1, 4}},
                                                          {"negative_text_features.0", {2, 4}},
                                                          {"negative_text_features.1", {6, 4}}}),
                                                   kLimits);
  ASSERT_EQ(features.prompts.size(), 2U);
  EXPECT_EQ(features.prompts[1].shape(), (Shape{1, 4}));
  EXPECT_EQ(features.negatives[1].shape(), (Shape{6, 4}));
}

TEST_F(TextFeaturesTest, RefusesOtherShapes) {
  for (const Shape& shape : {Shape{3, 5}, Shape{0, 4}, Shape{7, 4}, Shape{4}, Shape{1, 3, 4}}) {
    EXPECT_THAT(error_of(write({{"text_features", shape}})), HasSubstr("wanted [1 to 6, 4]"));
  }
}

TEST_F(TextFeaturesTest, RefusesNamesThatDoNotFitTogether) {
  EXPECT_THAT(error_of(write({{"features", {3, 4}}})), HasSubstr("no tensor 'text_features'"));
  EXPECT_THAT(error_of(write({{"text_features.0", {3, 4}}, {"text_features.2", {3, 4}}})),
              HasSubstr("has 2 tensors 'text_features.…'"));
  EXPECT_THAT(error_of(write({{"text_features", {3, 4}}, {"text_features.0", {3, 4}}})),
              HasSubstr("alone or"));
  EXPECT_THAT(error_of(write({{"text_features.0", {3, 4}},
                              {"text_features.1", {3, 4}},
                              {"negative_text_features", {3, 4}}})),
              HasSubstr("2 prompts and 1 negative ones"));
}

TEST_F(TextFeaturesTest, RefusesWhatIsNoNumber) {
  EXPECT_THAT(error_of(write({{"text_features", {3, 4}}}, NAN)), HasSubstr("not finite"));
  EXPECT_THAT(error_of(write({{"text_features", {3, 4}}}, INFINITY)), HasSubstr("not finite"));
}

TEST_F(TextFeaturesTest, SaysThatTheFileIsAbsent) {
  EXPECT_THAT(error_of(folder_.path() / "absent.safetensors"), HasSubstr("absent.safetensors"));
}

TEST_F(TextFeaturesTest, CountsPromptsByTheirNames) {
  EXPECT_EQ(count_text_features(write({{"text_features", {2, 4}}, {"other", {1}}})), 1);
  EXPECT_EQ(count_text_features(write({{"text_features.0", {2, 4}}, {"text_features.1", {3, 4}}})),
            2);
  EXPECT_THROW(count_text_features(write({{"other", {1}}})), Error);
}

}  // namespace
}  // namespace nextscale
