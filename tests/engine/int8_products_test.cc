// SPDX-License-Identifier: Apache-2.0
// Whole generations with products in eight bits, from folders in eight bits and from others.
#include <gtest/gtest.h>

#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

class Int8Products : public testing::Test {
 protected:
  static Image picture(const std::string& model, const EngineOptions& options) {
    EngineOptions engine_options = options;
    engine_options.model = model;
    Engine engine(engine_options);
    Image result;
    Events events;
    events.on_image = [&](GeneratedImage image) { result = std::move(image.image); };
    engine.generate({.classes = {"3"}, .seed = 5, .cfg = 1.5F, .greedy = true}, events);
    return result;
  }

  TemporaryFolder f32_folder_;
  TemporaryFolder int8_folder_;
  std::string f32_model_ = make_model(f32_folder_.path(), small_var_shape(), DType::kF32).string();
  std::string int8_model_ = make_model(int8_folder_.path(), small_var_shape(), DType::kI8).string();
};

TEST_F(Int8Products, RoundingWhenConvertedOrWhenLoadedIsTheSame) {
  for (const Backend backend : {Backend::kCpu, Backend::kReference}) {
    const EngineOptions options{.dtype = Precision::kInt8, .backend = backend};
    EXPECT_EQ(picture(int8_model_, options), picture(f32_model_, options));
  }
}

TEST_F(Int8Products, FoldersInEightBitsRunWithEveryType) {
  for (const Precision dtype : {Precision::kF32, Precision::kBF16}) {
    EXPECT_GT(picture(int8_model_, {.dtype = dtype}).width, 0);
  }
}

TEST_F(Int8Products, GoWithEveryTypeOfTheCache) {
  const Image automatic = picture(f32_model_, {.dtype = Precision::kInt8});
  for (const Precision kv : {Precision::kF32, Precision::kBF16, Precision::kInt8}) {
    const Image image = picture(f32_model_, {.dtype = Precision::kInt8, .kv_dtype = kv});
    EXPECT_EQ(image.width, automatic.width);
  }
}

}  // namespace
}  // namespace nextscale
