// SPDX-License-Identifier: Apache-2.0
#include "plan/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "plan/what_fits.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

RunQuestion question(const std::string& kv, int64_t images) {
  return {.spec = parse_policy_spec(kv), .images = images};
}

class KnownRun : public testing::Test {
 protected:
  RunPlan plan(const std::string& kv, int64_t images, uint64_t limit = kNoLimit) const {
    return planner_.plan(question(kv, images), limit);
  }

  const RunSetup setup_ = run_setup({.dtype = Precision::kBF16});
  const PlannedModel model_ = choose_model({.model = "var-d16", .size = ""});
  const RunPlanner planner_{model_, setup_, nullptr, {}};
};

TEST(RunPlan, OfAFolderIsTheEnginesOwn) {
  const TemporaryFolder folder;
  const std::string path = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  const EngineOptions options{.model = path, .dtype = Precision::kF32};
  const PlannedModel model = choose_model({.model = path, .size = ""});
  const RunSetup setup = run_setup(options);
  for (const char* kv : {"full", "h2o:budget=40%", "snapkv:budget=9tok"}) {
    const RunPlan plan =
        RunPlanner(model, setup, nullptr, {.cfg = 2.0F}).plan(question(kv, 3), kNoLimit);
    Request request{.classes = {"1"}, .images_each = 3, .cfg = 2.0F, .kv = kv, .batch = 3};
    const Plan engine = Engine(options).plan(request);
    EXPECT_EQ(plan.weights, engine.weights) << kv;
    EXPECT_EQ(plan.reserved_kv_bytes, engine.kv_cache) << kv;
    EXPECT_EQ(plan.activations, engine.activations) << kv;
    EXPECT_EQ(plan.decoder, engine.decoder) << kv;
    EXPECT_EQ(plan.peak - plan.process, engine.peak - engine.process) << kv;
  }
}

TEST_F(KnownRun, HoldsEachStepWhatItsTokensTake) {
  const RunPlan full = plan("full", 2);
  ASSERT_EQ(full.kv_bytes.size(), 10U);
  // 16 layers of 16 heads of 64, K and V of two bytes, one scale id; two pictures with guidance.
  const uint64_t token = 16 * 16 * (2 * 64 * 2 + 1) * 4;
  EXPECT_EQ(full.kv_bytes[0], token);
  EXPECT_EQ(full.kv_bytes[8], 424 * token);
  EXPECT_EQ(full.kv_bytes[9], 0U);  // nobody reads the last scale
  EXPECT_EQ(full.peak_kv_bytes(), full.reserved_kv_bytes);
  EXPECT_LT(plan("h2o:budget=10%", 2).reserved_kv_bytes, full.reserved_kv_bytes / 4);
}

TEST_F(KnownRun, WithoutGuidanceRunsHalfTheSequences) {
  const RunPlanner unguided(model_, setup_, nullptr, {.cfg = 0.0F});
  EXPECT_EQ(unguided.sequences(3), 3);
  EXPECT_EQ(planner_.sequences(3), 6);
}

TEST_F(KnownRun, ALargerBatchThanTheLargestDoesNotFit) {
  const uint64_t limit = uint64_t{4} << 30;
  const FitAnswer answer = what_fits(planner_, question("streaming:budget=30%", 1), limit);
  EXPECT_TRUE(answer.fits);
  EXPECT_FALSE(answer.mildest.has_value());
  EXPECT_LE(plan("streaming:budget=30%", answer.largest_batch, limit).peak, limit);
  EXPECT_GT(plan("streaming:budget=30%", answer.largest_batch + 1, limit).peak, limit);
}

TEST_F(KnownRun, TheMildestBudgetThatFitsIsAReadySpec) {
  const uint64_t limit = plan("streaming:budget=40%", 16).peak;
  const FitAnswer answer = what_fits(planner_, question("streaming:budget=60%,sink=2", 16), limit);
  EXPECT_FALSE(answer.fits);
  EXPECT_LT(answer.largest_batch, 16);
  ASSERT_TRUE(answer.mildest.has_value());
  EXPECT_EQ(answer.mildest->spec, "streaming:budget=40%,sink=2");
  EXPECT_EQ(answer.mildest->images, 16);
  EXPECT_FALSE(answer.mildest->needs_calibration);
}

TEST_F(KnownRun, WhatReplacesTheFullCacheAttendsEverything) {
  const uint64_t limit = plan("streaming:budget=20%", 64).peak;
  const FitAnswer answer = what_fits(planner_, question("full", 64), limit);
  ASSERT_TRUE(answer.mildest.has_value());
  EXPECT_THAT(answer.mildest->spec, testing::StartsWith("hackpp:attn=100%,cache="));
  EXPECT_TRUE(answer.mildest->needs_calibration);
}

TEST_F(KnownRun, WhereNothingFitsTheSmallestRunSaysWhatItLacks) {
  const uint64_t limit = uint64_t{64} << 20;
  const FitAnswer answer = what_fits(planner_, question("streaming", 8), limit);
  EXPECT_FALSE(answer.fits);
  EXPECT_EQ(answer.largest_batch, 0);
  EXPECT_FALSE(answer.mildest.has_value());
  EXPECT_EQ(answer.missing_bytes, plan("streaming:budget=1tok", 1, limit).peak - limit);
}

TEST(RunPlan, OfAFamilyThatDoesNotRunLeavesUnknownPartsOut) {
  const RunSetup setup = run_setup({.dtype = Precision::kBF16});
  const PlannedModel model = choose_model({.model = "onecat-3b", .size = "512"});
  const RunPlan plan = RunPlanner(model, setup, nullptr, {}).plan(question("full", 1), kNoLimit);
  EXPECT_FALSE(plan.is_complete());
  EXPECT_FALSE(plan.activations.has_value());
  EXPECT_FALSE(plan.decoder.has_value());
  EXPECT_EQ(plan.weights, 2U * (9'452'669'024 + 65'092'355));
  EXPECT_EQ(plan.peak, plan.process + plan.weights + plan.reserved_kv_bytes);
}

TEST(RunPlan, OfPublishedInfinityIsComplete) {
  const RunSetup setup = run_setup({.dtype = Precision::kBF16});
  for (const char* name : {"infinity-125m", "infinity-2b", "infinity-8b"}) {
    const PlannedModel model = choose_model({.model = name, .size = "0.25M"});
    const RunPlan plan = RunPlanner(model, setup, nullptr, {}).plan(question("full", 1), kNoLimit);
    EXPECT_TRUE(plan.is_complete()) << name;
    EXPECT_EQ(plan.text_tokens, kTypicalTextTokens) << name;
    EXPECT_EQ(model.pixels, (Grid{512, 512})) << name;
    EXPECT_FALSE(plan.text_encoder.has_value()) << name;
  }
}

TEST(RunPlan, LongerPromptsTakeMore) {
  const RunSetup setup = run_setup({.dtype = Precision::kBF16});
  const PlannedModel model = choose_model({.model = "infinity-2b", .size = "1:2@0.06M"});
  const auto activations = [&](int64_t tokens) {
    const RunPlanner planner(model, setup, nullptr, {.text_tokens = tokens});
    return *planner.plan(question("full", 2), kNoLimit).activations;
  };
  // At the least keys and values of 32 layers of width 2048 in bf16, with and without the prompt,
  // of two pictures.
  EXPECT_GE(activations(512) - activations(256), 256U * 32 * 2048 * 2 * 2 * 4);
  EXPECT_THROW(activations(0), Error);
  EXPECT_THROW(activations(513), Error);
}

TEST(RunPlan, PromptsAreNotForModelsOfClasses) {
  const RunSetup setup = run_setup({.dtype = Precision::kBF16});
  const PlannedModel model = choose_model({.model = "var-d16", .size = ""});
  EXPECT_THROW(RunPlanner(model, setup, nullptr, {.text_tokens = 5}), Error);
}

TEST(ChooseModel, RefusesWhatItDoesNotKnow) {
  const auto message = [](const ModelChoice& choice) -> std::string {
    try {
      choose_model(choice);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  using testing::HasSubstr;
  EXPECT_THAT(message({"infinity-3b", ""}), HasSubstr("did you mean infinity-2b"));
  EXPECT_THAT(message({"var-d16", "512"}), HasSubstr("wanted 256"));
  EXPECT_THAT(message({"infinity-2b", "0:1@1M"}), HasSubstr("another shape"));
  EXPECT_EQ(message({"infinity-2b", "4:3@0.25M"}), "accepted");
}

}  // namespace
}  // namespace nextscale
