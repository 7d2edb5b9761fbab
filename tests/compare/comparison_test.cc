// SPDX-License-Identifier: Apache-2.0
// Policies measured against each other on small models with random weights.
#include "compare/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "compare/page.h"
#include "compare/summary.h"
#include "engine/trace_recorder.h"
#include "models/infinity/convert.h"
#include "support/small_infinity.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Not;

class CompareTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    make_model(folder_->path(), small_var_shape(), DType::kF32);
    const InfinityFiles files = write_small_infinity(folder_->path());
    convert_infinity({.transformer = files.transformer,
                      .vae = files.vae,
                      .output = folder_->path() / "bitwise",
                      .size = "5scales",
                      .dtype = DType::kF32,
                      .text_encoder = files.text_encoder,
                      .text_dtype = DType::kF32});
  }
  static void TearDownTestSuite() { delete folder_; }

  static EngineOptions options(const std::string& model) {
    return {.model = (folder_->path() / model).string(), .dtype = Precision::kF32, .threads = 1};
  }
  static CompareRequest request() {
    CompareRequest result;
    result.request.classes = {"3", "7"};
    result.request.images_each = 3;
    result.request.seed = 5;
    result.policies = {"full", "h2o:budget=30%", "streaming:budget=100%"};
    return result;
  }
  // What request() gives.
  static const Comparison& usual() {
    static const Comparison comparison = compared(request());
    return comparison;
  }
  static Comparison compared(const CompareRequest& request, const std::string& model = "model") {
    Engine engine(options(model));
    return compare(engine, request, {});
  }
  static void expect_refused(const CompareRequest& request, ErrorCode code,
                             const std::string& part) {
    Engine engine(options("model"));
    CompareEvents events;
    events.on_run = [](const CompareProgress&) { ADD_FAILURE() << "a picture was begun"; };
    try {
      compare(engine, request, events);
      ADD_FAILURE() << "accepted, wanted a message with " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

TEST_F(CompareTest, AFullBudgetChangesNothing) {
  const Comparison& comparison = usual();
  ASSERT_EQ(comparison.pictures.size(), 6U);
  EXPECT_EQ(comparison.policies[2].kv_bytes, comparison.policies[0].kv_bytes);
  for (const PictureMeasures& picture : comparison.policies[2].pictures) {
    EXPECT_TRUE(picture.is_identical);
    EXPECT_NEAR(picture.ssim, 1.0, 1e-12);
    EXPECT_THAT(picture.agreement, Each(1.0));
    EXPECT_THAT(picture.divergence, Each(0.0));
  }
}

TEST_F(CompareTest, ASmallBudgetShowsInEveryMeasure) {
  const Comparison& comparison = usual();
  const PolicyMeasures& policy = comparison.policies[1];
  EXPECT_LT(policy.kv_bytes, comparison.policies[0].kv_bytes);
  for (const PictureMeasures& picture : policy.pictures) {
    EXPECT_LT(picture.psnr, 60);
    EXPECT_LT(picture.ssim, 0.999);
    EXPECT_GT(picture.milliseconds, 0);
    // Before anything is dropped nothing changes.
    EXPECT_EQ(picture.divergence.front(), 0);
    EXPECT_EQ(picture.agreement.front(), 1);
    EXPECT_GT(picture.divergence.back(), 0);
    EXPECT_LT(picture.agreement.back(), 1);
  }
}

TEST_F(CompareTest, BatchesChangeNoMeasure) {
  CompareRequest wanted = request();
  const Comparison& alone = usual();
  for (const int64_t batch : {1, 2}) {
    wanted.request.batch = batch;
    const Comparison together = compared(wanted);
    for (size_t picture = 0; picture < 6; ++picture) {
      EXPECT_EQ(together.pictures[picture].subject, alone.pictures[picture].subject);
      EXPECT_EQ(together.pictures[picture].image_index, alone.pictures[picture].image_index);
      const PictureMeasures& one = alone.policies[1].pictures[picture];
      const PictureMeasures& other = together.policies[1].pictures[picture];
      EXPECT_EQ(one.psnr, other.psnr);
      EXPECT_EQ(one.ssim, other.ssim);
      EXPECT_EQ(one.agreement, other.agreement);
      EXPECT_EQ(one.divergence, other.divergence);
    }
  }
}

// What a traced run records, without anything of src/compare.
TraceRecorder traced(Engine& engine, Request request, const std::string& kv,
                     const std::vector<std::vector<int32_t>>& forced) {
  TraceRecorder recorder(TraceRecorder::Attention::kNo);
  Events events;
  events.trace = &recorder;
  events.forced_labels = forced;
  request.kv = kv;
  engine.generate(request, events);
  return recorder;
}

// The mean over all tokens of a scale of KL between the logits [.., categories] of two traces.
double divergence_of(const Tensor& one, const Tensor& other, int64_t tokens) {
  const int64_t categories = one.shape()[one.shape().rank() - 1];
  double sum = 0;
  for (int64_t row = 0; row < one.shape().num_elements(); row += categories) {
    const float* p = one.as<float>() + row;
    const float* q = other.as<float>() + row;
    double p_total = 0;
    double q_total = 0;
    for (int64_t at = 0; at < categories; ++at) {
      p_total += std::exp(double{p[at]});
      q_total += std::exp(double{q[at]});
    }
    for (int64_t at = 0; at < categories; ++at) {
      const double share = std::exp(double{p[at]}) / p_total;
      sum += share * std::log(share / (std::exp(double{q[at]}) / q_total));
    }
  }
  return sum / static_cast<double>(tokens);
}

TEST_F(CompareTest, DivergenceIsThatOfTracesWithTheSameLabelsOfBitwiseModelsToo) {
  for (const bool is_bitwise : {false, true}) {
    const std::string model = is_bitwise ? "bitwise" : "model";
    CompareRequest wanted = request();
    wanted.request.images_each = 1;
    wanted.request.classes =
        is_bitwise ? std::vector<std::string>{} : std::vector<std::string>{"3"};
    if (is_bitwise) wanted.request.prompts = {{.text = "a red apple"}};
    const Comparison comparison = compared(wanted, model);
    Engine engine(options(model));
    const TraceRecorder reference = traced(engine, wanted.request, "full", {});
    std::vector<std::vector<int32_t>> labels;
    for (size_t scale = 0; scale < comparison.scales.size(); ++scale) {
      const std::string name = (is_bitwise ? "bits." : "tokens.") + std::to_string(scale);
      const Tensor& tensor = reference.tensors().at(name);
      labels.emplace_back(tensor.as<int32_t>(),
                          tensor.as<int32_t>() + tensor.shape().num_elements());
    }
    const TraceRecorder forced = traced(engine, wanted.request, wanted.policies[1], labels);
    for (size_t scale = 0; scale < comparison.scales.size(); ++scale) {
      const std::string name = "logits." + std::to_string(scale);
      EXPECT_NEAR(comparison.policies[1].pictures[0].divergence[scale],
                  divergence_of(reference.tensors().at(name), forced.tensors().at(name),
                                comparison.scales[scale].tokens()),
                  1e-9);
    }
    EXPECT_GT(comparison.policies[1].pictures[0].divergence.back(), 0);
  }
}

TEST_F(CompareTest, MistakesAreFoundBeforeTheFirstPicture) {
  CompareRequest wanted = request();
  wanted.policies = {"full"};
  expect_refused(wanted, ErrorCode::kUsage, "got one policy");
  wanted.policies = {"full", "h2o", "full"};
  expect_refused(wanted, ErrorCode::kUsage, "full is given twice");
  wanted.policies = {"full", "h2o", "hak"};
  expect_refused(wanted, ErrorCode::kUsage, "did you mean hack");
  wanted.policies = {"full", "hackpp"};
  expect_refused(wanted, ErrorCode::kNotFound, "nextscale calibrate");
  wanted = request();
  wanted.request.smooth = true;
  expect_refused(wanted, ErrorCode::kUsage, "--smooth");
}

TEST_F(CompareTest, StopsWhenItIsTold) {
  Engine engine(options("model"));
  std::atomic<bool> cancel = false;
  CompareEvents events;
  events.cancel = &cancel;
  events.on_run = [&](const CompareProgress& progress) { cancel = progress.runs_done == 3; };
  EXPECT_THAT([&] { compare(engine, request(), events); },
              testing::Throws<Error>(testing::Property(&Error::code, ErrorCode::kCancelled)));
}

TEST_F(CompareTest, ShownPicturesAreSpreadOverSubjectsWithinTheirBytes) {
  CompareRequest wanted = request();
  wanted.shown_pictures = 2;
  const Comparison spread = compared(wanted);
  ASSERT_EQ(spread.shown.size(), 2U);
  EXPECT_EQ(spread.shown[1].picture.subject, 1);
  EXPECT_EQ(spread.shown[1].pictures.size(), 3U);
  EXPECT_TRUE(spread.shown[1].differences[0].empty());
  wanted.shown_bytes = 1;
  EXPECT_EQ(compared(wanted).shown.size(), 1U);
}

TEST_F(CompareTest, ThePageIsOneFileThatNeedsNothingElse) {
  const std::string page = comparison_page(usual(), "<model>");
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
  for (const char* foreign : {"<script", "http:", "https:", "url(", "@import", "<model>", ">nan"}) {
    EXPECT_EQ(page.find(foreign), std::string::npos) << foreign;
  }
  size_t images = 0;
  for (size_t at = 0; (at = page.find("<img", at)) != std::string::npos; ++at) ++images;
  EXPECT_EQ(images, 6U * (3 + 2));
  EXPECT_NE(page.find("src=\"data:image/png;base64,iVBORw0KGgo"), std::string::npos);
}

// A judge of random weights sees the same in the same pictures, whatever that is.
TEST_F(CompareTest, TheJudgeLooksAtEveryPicture) {
  Judge judge(NEXTSCALE_TEST_DATA "/judge/judge.safetensors", 1);
  CompareRequest wanted = request();
  wanted.request.images_each = 1;
  wanted.judge = &judge;
  wanted.expected = {Expectation{.kind = SceneKind::kSingle, .sprites = {0}}, std::nullopt};
  const Comparison comparison = compared(wanted);
  for (const PolicyMeasures& policy : comparison.policies) {
    EXPECT_TRUE(policy.pictures[0].verdict[static_cast<size_t>(Attribute::kSingle)].has_value());
    EXPECT_THAT(policy.pictures[1].verdict, Each(std::nullopt));
  }
  EXPECT_EQ(comparison.policies[2].pictures[0].verdict, comparison.policies[0].pictures[0].verdict);
  const nlohmann::json policies = to_json(comparison).at("policies");
  EXPECT_EQ(policies[0].at("judge").count("same"), 0U);
  EXPECT_EQ(policies[2].at("judge").at("same").at("mean"), 1.0);
  EXPECT_EQ(policies[2].at("judge").at("same").at("count"), 2);
  EXPECT_EQ(policies[2].at("judge").at("single").at("count"), 1);
  EXPECT_EQ(policies[2].at("pictures")[0].at("judge").count("single"), 1U);
  EXPECT_EQ(policies[2].at("pictures")[1].at("judge").count("single"), 0U);
  EXPECT_NE(comparison_page(comparison, "model").find("What the judge sees"), std::string::npos);
}

TEST_F(CompareTest, JsonHoldsMeansIntervalsAndEveryPicture) {
  const Comparison& comparison = usual();
  const nlohmann::json result = to_json(comparison);
  EXPECT_EQ(result.at("format"), "nextscale-comparison");
  EXPECT_EQ(result.at("scales").size(), 5U);
  EXPECT_EQ(result.at("settings").count("kv"), 0U);
  EXPECT_EQ(result.at("policies")[0].count("psnr"), 0U);
  const auto& policy = result.at("policies")[1];
  EXPECT_EQ(policy.at("kv"), "h2o:budget=30%");
  EXPECT_EQ(policy.at("divergence_per_scale").size(), 5U);
  ASSERT_EQ(policy.at("pictures").size(), 6U);
  double sum = 0;
  for (const auto& picture : policy.at("pictures")) sum += picture.at("ssim").get<double>();
  EXPECT_NEAR(policy.at("ssim").at("mean"), sum / 6, 1e-12);
  EXPECT_LE(policy.at("ssim").at("low"), policy.at("ssim").at("mean"));
  EXPECT_GE(policy.at("ssim").at("high"), policy.at("ssim").at("mean"));
  EXPECT_EQ(policy.at("pictures")[4].at("subject"), 1);
  EXPECT_EQ(policy.at("pictures")[4].at("image"), 1);
}

}  // namespace
}  // namespace nextscale
