// SPDX-License-Identifier: Apache-2.0
// A picture depends on model, class, seed and number; on nothing else.
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

using Pictures = std::map<std::pair<int64_t, int64_t>, Image>;  // by class and number

class Determinism : public testing::TestWithParam<Precision> {
 protected:
  Determinism() : model_(make_model(folder_.path(), small_var_shape(), DType::kF32)) {}

  Pictures generate(int threads, int64_t batch, int64_t images, int64_t first = 0) {
    Request request = request_;
    request.images_each = images;
    request.first_image = first;
    request.batch = batch;
    Engine engine({.model = model_.string(), .dtype = GetParam(), .threads = threads});
    Pictures pictures;
    Events events;
    events.on_image = [&](GeneratedImage image) {
      pictures[{image.class_index, image.image_index}] = std::move(image.image);
    };
    engine.generate(request, events);
    return pictures;
  }

  TemporaryFolder folder_;
  std::filesystem::path model_;
  Request request_{.classes = {"3", "7"}, .seed = 5, .cfg = 1.5F, .top_k = 40, .top_p = 0.9F};
};

TEST_P(Determinism, PicturesDifferByClassNumberAndSeed) {
  const Pictures pictures = generate(1, 4, 2);
  request_.seed = 6;
  const Pictures other_seed = generate(1, 4, 2);
  EXPECT_NE(pictures.at({3, 0}), pictures.at({7, 0}));
  EXPECT_NE(pictures.at({3, 0}), pictures.at({3, 1}));
  EXPECT_NE(pictures.at({3, 0}), other_seed.at({3, 0}));
}

TEST_P(Determinism, ThreadsDoNotChangeAPixel) {
  const Pictures one = generate(1, 2, 2);
  EXPECT_EQ(one, generate(2, 2, 2));
  EXPECT_EQ(one, generate(3, 2, 2));
}

TEST_P(Determinism, BatchSizeDoesNotChangeAPixel) {
  const Pictures together = generate(2, 6, 3);
  for (const int64_t batch : {1, 2, 3, 4, 5}) EXPECT_EQ(together, generate(2, batch, 3)) << batch;
}

TEST_P(Determinism, SplittingARequestDoesNotChangeAPixel) {
  Pictures parts = generate(2, 3, 1);
  parts.merge(generate(2, 3, 2, 1));
  EXPECT_EQ(generate(2, 3, 3), parts);
}

TEST_P(Determinism, SmoothingIsJustAsIndependent) {
  request_.smooth = true;
  EXPECT_EQ(generate(1, 1, 2), generate(2, 4, 2));
}

TEST_P(Determinism, WithoutGuidanceUnconditionalRowsAreNotNeeded) {
  request_.cfg = 0.0F;
  EXPECT_EQ(generate(1, 1, 2), generate(2, 4, 2));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, Determinism,
                         testing::Values(Precision::kF32, Precision::kBF16, Precision::kInt8),
                         [](const auto& dtype) {
                           return dtype.param == Precision::kF32    ? "f32"
                                  : dtype.param == Precision::kBF16 ? "bf16"
                                                                    : "int8";
                         });

}  // namespace
}  // namespace nextscale
