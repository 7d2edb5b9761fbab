// SPDX-License-Identifier: Apache-2.0
// Calibration of a whole model: the same file whatever the batch, the threads and the
// interruptions, and bound to the model that it was made of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "calibrate/calibration_file.h"
#include "engine/recipe.h"
#include "nextscale/engine.h"
#include "nextscale/error.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class CalibrationRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    model_ = make_model(shared_->path(), small_var_shape(), DType::kF32);
  }
  static void TearDownTestSuite() { delete shared_; }

  fs::path output() const { return folder_.path() / "calibration.safetensors"; }

  CalibrationRequest request(int64_t batch = 1) const {
    Request settings{.seed = 5, .cfg = PerScale(1.5F), .top_k = 40, .top_p = 0.9F};
    settings.batch = batch;
    return {.request = settings, .samples = 5, .output = output().string()};
  }

  // The bytes of the file that such a run makes.
  std::string calibrate(const CalibrationRequest& wanted, int threads = 1,
                        const CalibrationEvents& events = {}) const {
    Engine engine({.model = model_.string(), .dtype = Precision::kF32, .threads = threads});
    engine.calibrate(wanted, events);
    return read_bytes(wanted.output);
  }

  // What generating with this policy and calibration says.
  static std::string refusal(const std::string& kv, const std::string& calibration,
                             ErrorCode code) {
    try {
      Engine engine({.model = model_.string(), .calibration = calibration});
      engine.generate({.classes = {"1"}, .kv = kv}, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "";
  }

  inline static TemporaryFolder* shared_ = nullptr;
  inline static fs::path model_;
  TemporaryFolder folder_;
};

TEST_F(CalibrationRuns, NeitherBatchNorThreadsChangeABit) {
  const std::string one = calibrate(request(1), 1);
  EXPECT_EQ(calibrate(request(3), 3), one);
  EXPECT_EQ(calibrate(request(0), 2), one);
}

TEST_F(CalibrationRuns, AnInterruptedRunEndsWithTheSameFile) {
  const std::string whole = calibrate(request());
  // Five samples of five scales; one sample after the other is kept.
  for (const int stop_after : {1, 5, 12, 24}) {
    fs::remove(output());
    std::atomic<bool> cancel = false;
    int scales = 0;
    std::string note;
    CalibrationEvents events;
    events.cancel = &cancel;
    events.on_scale = [&](const ScaleEvent&) { cancel = ++scales == stop_after; };
    events.on_note = [&](const std::string& text) { note = text; };
    try {
      calibrate(request(), 2, events);
      ADD_FAILURE() << "was not interrupted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCancelled);
      EXPECT_THAT(error.what(), HasSubstr("goes on from there"));
    }
    EXPECT_FALSE(fs::exists(output()));
    EXPECT_EQ(fs::exists(partial_path(output())), stop_after >= 5);
    cancel = false;
    scales = -1000;
    EXPECT_EQ(calibrate(request(2), 1, events), whole) << stop_after;
    EXPECT_THAT(note, stop_after >= 5 ? HasSubstr("going on after") : HasSubstr("")) << stop_after;
    EXPECT_FALSE(fs::exists(partial_path(output())));
  }
}

TEST_F(CalibrationRuns, WhatOtherSettingsLeftIsNotTakenOver) {
  const std::string whole = calibrate(request());
  CalibrationRequest other = request();
  other.request.seed = 6;
  std::atomic<bool> cancel = false;
  CalibrationEvents events;
  events.cancel = &cancel;
  events.on_scale = [&](const ScaleEvent& event) { cancel = event.first_image == 2; };
  EXPECT_THROW(calibrate(other, 1, events), Error);
  ASSERT_TRUE(fs::exists(partial_path(output())));
  std::string note;
  events = {};
  events.on_note = [&](const std::string& text) { note = text; };
  EXPECT_EQ(calibrate(request(), 1, events), whole);
  EXPECT_THAT(note, HasSubstr("other settings; starting anew"));
}

TEST_F(CalibrationRuns, RecordHowTheSamplesWereMade) {
  CalibrationRequest wanted = request();
  calibrate(wanted);
  const CalibrationFile spread = read_calibration_file(output());
  ASSERT_TRUE(spread.header.source.has_value());
  EXPECT_THAT(spread.header.source->conditionings, testing::ElementsAre("0", "2", "4", "6", "8"));
  EXPECT_EQ(spread.header.source->settings.at("seed"), 5);
  EXPECT_EQ(spread.header.source->samples, 5);
  wanted.request.classes = {"3", "7"};
  calibrate(wanted);
  EXPECT_THAT(read_calibration_file(output()).header.source->conditionings,
              testing::ElementsAre("3", "7"));
}

TEST_F(CalibrationRuns, RefuseImpossibleNumbersOfSamples) {
  CalibrationRequest wanted = request();
  for (const int64_t samples : {int64_t{0}, int64_t{-1}, int64_t{1'000'001}}) {
    wanted.samples = samples;
    EXPECT_THAT([&] { calibrate(wanted); },
                testing::ThrowsMessage<Error>(HasSubstr("wanted 1 to 1000000 samples")));
  }
}

TEST_F(CalibrationRuns, AMissingCalibrationNamesTheNextStep) {
  EXPECT_THAT(refusal("hackpp", "", ErrorCode::kNotFound), HasSubstr("nextscale calibrate"));
  EXPECT_THAT(refusal("hackpp", "/nowhere/c.safetensors", ErrorCode::kNotFound),
              HasSubstr("/nowhere"));
  EXPECT_THAT(refusal("full", "/nowhere/c.safetensors", ErrorCode::kNotFound),
              HasSubstr("/nowhere"));
}

TEST_F(CalibrationRuns, ACalibrationOfAnotherModelIsRefused) {
  calibrate(request());
  CalibrationFile file = read_calibration_file(output());
  file.header.model_id = std::string(64, 'a');
  write_calibration_file(output(), file);
  EXPECT_THAT(refusal("hackpp", output().string(), ErrorCode::kMismatch),
              HasSubstr("is of the model aaaaaaaaaaaa"));
  file.header.geometry.scales[1] = {3, 3};
  file.values.scales[1] = {3, 3};
  write_calibration_file(output(), file);
  EXPECT_THAT(refusal("hackpp", output().string(), ErrorCode::kMismatch), HasSubstr("scale 1"));
}

TEST_F(CalibrationRuns, PicturesRecordWhatTheyWereMadeWith) {
  calibrate(request());
  const std::string sha256 = read_calibration_file(output()).sha256;
  const auto recipe_of = [&](const std::string& kv) {
    Engine engine({.model = model_.string(),
                   .calibration = output().string(),
                   .dtype = Precision::kF32,
                   .threads = 1});
    std::optional<Recipe> recipe;
    Events events;
    events.on_image = [&](const GeneratedImage& image) { recipe = find_recipe(image.texts); };
    engine.generate({.classes = {"1"}, .kv = kv}, events);
    return recipe.value();
  };
  const Recipe recipe = recipe_of("hackpp");
  EXPECT_EQ(recipe.calibration_sha256, sha256);
  EXPECT_THAT(recipe_command(recipe, "a.png"), HasSubstr("--calibration " + output().string()));
  EXPECT_EQ(recipe_of("streaming").calibration, "");
}

TEST_F(CalibrationRuns, TheOneInTheModelFolderIsFound) {
  CalibrationRequest wanted = request();
  wanted.output = (model_ / kCalibrationName).string();
  calibrate(wanted);
  EXPECT_EQ(refusal("hackpp", "", ErrorCode::kInternal), "");
  fs::remove(wanted.output);
}

TEST_F(CalibrationRuns, ThatCannotBeWrittenLeaveNothing) {
  CalibrationRequest wanted = request();
  wanted.output = (folder_.path() / "absent" / "c.safetensors").string();
  EXPECT_THROW(calibrate(wanted), Error);
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

}  // namespace
}  // namespace nextscale
