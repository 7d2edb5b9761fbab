// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/memory_info.h"
#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

Request request_for(int64_t images) {
  Request request{.classes = {"1"}, .images_each = images, .cfg = 2.0F};
  request.batch = images;
  return request;
}

std::string message_of(const std::function<void()>& action, ErrorCode code) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

class PlanOf : public testing::TestWithParam<bool> {};

TEST_P(PlanOf, WeightsArePredictedToTheByte) {
  const TemporaryFolder folder;
  RandomVarShape shape = small_var_shape();
  shape.shared_adaln = GetParam();
  const std::string model = make_model(folder.path(), shape, DType::kF32).string();
  for (const Precision dtype : {Precision::kF32, Precision::kBF16, Precision::kInt8}) {
    for (const Backend backend : {Backend::kCpu, Backend::kReference}) {
      Engine engine({.model = model, .dtype = dtype, .backend = backend});
      engine.load();
      EXPECT_EQ(engine.loaded_bytes(), engine.plan(request_for(1)).weights);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AdaLn, PlanOf, testing::Bool());

TEST(Plan, CacheIsTheScheduleAndShrinksWithItsType) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  const auto kv_bytes = [&](Precision kv, int64_t images) {
    Engine engine({.model = model, .dtype = Precision::kF32, .kv_dtype = kv});
    return engine.plan(request_for(images)).kv_cache;
  };
  // 2 layers, 2 heads of 64, K and V; the scales before the last have 1 + 4 + 9 + 25 tokens; two
  // rows an image; one scale id per token.
  const uint64_t tokens = 2 * 2 * 39 * 2;
  EXPECT_EQ(kv_bytes(Precision::kF32, 1), tokens * 64 * 2 * 4 + Arena::rounded(tokens));
  EXPECT_EQ(kv_bytes(Precision::kBF16, 3), 3 * tokens * 64 * 2 * 2 + Arena::rounded(3 * tokens));
  EXPECT_EQ(kv_bytes(Precision::kInt8, 1),
            tokens * 64 * 2 + 2 * Arena::rounded(tokens * sizeof(float)) + Arena::rounded(tokens));
}

TEST(Plan, ARunThatDoesNotFitIsRefusedWithTheWayOut) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  Engine engine({.model = model, .dtype = Precision::kF32, .memory_limit_bytes = 1 << 20});
  const auto message = message_of([&] { engine.generate(request_for(2), {}); }, ErrorCode::kMemory);
  EXPECT_THAT(message, testing::HasSubstr("too much"));
  EXPECT_THAT(message, testing::HasSubstr("try --batch 1"));
}

TEST(Plan, AutomaticBatchShrinksToFit) {
  // Wide and long enough that four images take some 50 MiB more than two.
  RandomVarShape shape = small_var_shape();
  shape.width = 512;
  shape.patch_nums = {1, 32};
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), shape, DType::kF32).string();
  Request request = request_for(4);
  request.batch = 0;
  const Plan roomy = Engine({.model = model, .dtype = Precision::kF32}).plan(request);
  EXPECT_EQ(roomy.batch, 4);
  const uint64_t limit = roomy.peak - (uint64_t{24} << 20);
  const Plan tight =
      Engine({.model = model, .dtype = Precision::kF32, .memory_limit_bytes = limit}).plan(request);
  EXPECT_LT(tight.batch, 4);
  EXPECT_LE(tight.peak, limit);
}

}  // namespace
}  // namespace nextscale
