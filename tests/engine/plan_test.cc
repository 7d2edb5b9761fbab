// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cache/kv_cache.h"
#include "core/memory_info.h"
#include "nextscale/engine.h"
#include "policies/registry.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

Request request_for(int64_t images) {
  Request request{.classes = {"1"}, .images_per_class = images, .cfg = 2.0F};
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
  for (const Precision dtype : {Precision::kF32, Precision::kBF16}) {
    Engine engine({.model = model, .dtype = dtype});
    engine.load();
    EXPECT_EQ(engine.loaded_bytes(), engine.plan(request_for(1)).weights);
  }
}

INSTANTIATE_TEST_SUITE_P(AdaLn, PlanOf, testing::Bool());

TEST(Plan, CacheIsTheScheduleAndHalvesInBf16) {
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

TEST(Cache, HoldsWhatItSaysAndKeepsOrder) {
  const Geometry geometry{.layers = 2,
                          .query_heads = 2,
                          .kv_heads = 2,
                          .head_dim = 4,
                          .scales = {{1, 1}, {1, 2}, {2, 2}}};
  const Schedule schedule = make_policy({.name = "full", .settings = {}}, {})->schedule(geometry);
  const CacheShape shape{
      .layers = 2, .rows = 3, .kv_heads = 2, .head_dim = 4, .dtype = DType::kF32};
  KvCache cache(shape, schedule, geometry.num_scales());
  EXPECT_EQ(cache.held_bytes(), 0U);
  for (int scale = 0; scale < 2; ++scale) {
    const int64_t tokens = geometry.tokens(scale);
    std::vector<float> k(static_cast<size_t>(3 * 2 * tokens * 4));
    std::vector<float> v(k.size());
    for (size_t at = 0; at < k.size(); ++at) {
      k[at] = static_cast<float>(1000 * scale) + static_cast<float>(at);
      v[at] = -k[at];
    }
    for (int64_t layer = 0; layer < 2; ++layer) {
      cache.append(layer, k.data(), v.data(), tokens, scale);
    }
  }
  EXPECT_EQ(cache.held_bytes(), 2U * 2 * 3 * 2 * 3 * 4 * sizeof(float));
  EXPECT_GE(cache.allocated().keys_values, cache.held_bytes());
  const kernels::KvSegment segment = cache.segment(1, 2, 1);
  ASSERT_EQ(segment.tokens, 3);
  const auto* keys = static_cast<const float*>(segment.k);
  const auto* values = static_cast<const float*>(segment.v);
  // Row 2, head 1 is list 5: element 20 of scale 0, elements 40 to 47 of scale 1.
  EXPECT_EQ(keys[0], 20.0F);
  EXPECT_EQ(keys[4], 1040.0F);
  EXPECT_EQ(values[11], -1047.0F);
  EXPECT_THAT(cache.scale_ids(1, 2, 1), testing::ElementsAre(0, 1, 1));
}

TEST(Cache, LastScaleIsNeverReserved) {
  const Geometry geometry{
      .layers = 1, .query_heads = 1, .kv_heads = 1, .head_dim = 64, .scales = {{1, 1}, {16, 16}}};
  const Schedule schedule = make_policy({.name = "full", .settings = {}}, {})->schedule(geometry);
  const CacheShape shape{
      .layers = 1, .rows = 2, .kv_heads = 1, .head_dim = 64, .dtype = DType::kF32};
  EXPECT_EQ(KvCache::planned_bytes(shape, schedule, 2).keys_values, 2U * 2 * 64 * sizeof(float));
}

}  // namespace
}  // namespace nextscale
