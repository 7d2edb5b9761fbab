// SPDX-License-Identifier: Apache-2.0
// Every policy of the registry in whole generations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/trace_recorder.h"
#include "nextscale/engine.h"
#include "nextscale/error.h"
#include "policies/registry.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

using Pictures = std::map<std::pair<int64_t, int64_t>, Image>;  // by class and number

struct Outcome {
  Pictures pictures;
  uint64_t peak_kv_bytes = 0;
  Plan plan;
};

class PolicyRuns : public testing::TestWithParam<PolicyRow> {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    model_ = make_model(folder_->path(), small_var_shape(), DType::kF32).string();
  }
  static void TearDownTestSuite() { delete folder_; }

  Outcome generate(const std::string& kv, Precision dtype, int threads, int64_t batch) {
    Request request{.classes = {"3", "7"}, .seed = 5, .cfg = 1.5F, .top_k = 40, .top_p = 0.9F};
    request.kv = kv;
    request.batch = batch;
    Engine engine({.model = model_, .dtype = dtype, .threads = threads});
    Outcome outcome;
    Events events;
    events.on_plan = [&](const Plan& plan) { outcome.plan = plan; };
    events.on_scale = [&](const ScaleEvent& event) {
      outcome.peak_kv_bytes = std::max(outcome.peak_kv_bytes, event.kv_bytes);
    };
    events.on_image = [&](GeneratedImage image) {
      outcome.pictures[{image.class_index, image.image_index}] = std::move(image.image);
    };
    engine.generate(request, events);
    return outcome;
  }

  // `full` has no budget.
  std::string with_budget(const std::string& budget) const {
    const std::string name(GetParam().name);
    return name == "full" ? name : name + ":budget=" + budget;
  }

  inline static TemporaryFolder* folder_ = nullptr;
  inline static std::string model_;
};

TEST_P(PolicyRuns, AWholeBudgetIsTheFullCacheBitForBit) {
  for (const Precision dtype : {Precision::kF32, Precision::kBF16}) {
    EXPECT_EQ(generate(with_budget("100%"), dtype, 2, 2).pictures,
              generate("full", dtype, 2, 2).pictures);
  }
}

TEST_P(PolicyRuns, NeitherThreadsNorBatchChangeAPixel) {
  const Pictures one = generate(with_budget("20%"), Precision::kF32, 1, 1).pictures;
  EXPECT_EQ(one, generate(with_budget("20%"), Precision::kF32, 3, 2).pictures);
}

TEST_P(PolicyRuns, HoldNoMoreThanTheirBudgetAndTheirPlan) {
  const Outcome full = generate("full", Precision::kF32, 2, 2);
  const Outcome small = generate(with_budget("20%"), Precision::kF32, 2, 2);
  EXPECT_LE(small.peak_kv_bytes, small.plan.kv_cache);
  if (GetParam().name == "full") return;
  EXPECT_NE(small.pictures, full.pictures);
  // 20 % of 103 tokens are 21; the full cache holds 39, all scales but the last.
  EXPECT_LE(small.peak_kv_bytes * 39, full.peak_kv_bytes * 21);
}

// Those that a model can be run with as it is.
std::vector<PolicyRow> uncalibrated_policies() {
  std::vector<PolicyRow> rows;
  for (const PolicyRow& row : policy_table()) {
    if (row.calibration == CalibrationUse::kNone) rows.push_back(row);
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Registry, PolicyRuns, testing::ValuesIn(uncalibrated_policies()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(PolicyRequests, AttentionOfUnequalHeadsIsNotTraced) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  Engine engine({.model = model});
  TraceRecorder recorder(TraceRecorder::Attention::kYes);
  Events events;
  events.trace = &recorder;
  Request request{.classes = {"1"}, .kv = "streaming"};
  try {
    engine.generate(request, events);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("wanted --kv full"));
  }
}

}  // namespace
}  // namespace nextscale
