// SPDX-License-Identifier: Apache-2.0
// What a caller can get wrong is refused with the flag, the value and what would be right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

class BadRequest : public testing::Test {
 protected:
  BadRequest() : model_(make_model(folder_.path(), small_var_shape(), DType::kF32)) {}

  void expect_refused(const Request& request, const std::string& part) {
    Engine engine({.model = model_.string()});
    try {
      engine.generate(request, {});
      ADD_FAILURE() << "accepted, wanted a message with " << part;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }

  TemporaryFolder folder_;
  std::filesystem::path model_;
  Request good_{.classes = {"1"}};
};

TEST_F(BadRequest, NamesTheFlag) {
  Request request = good_;
  request.classes = {};
  expect_refused(request, "--class");
  request.classes = {"10"};
  expect_refused(request, "10");
  request = good_;
  request.images_each = 0;
  expect_refused(request, "-n: got 0");
  request = good_;
  request.first_image = -1;
  expect_refused(request, "--first: got -1");
  request = good_;
  request.cfg = NAN;
  expect_refused(request, "--cfg");
  request.cfg = -1.0F;
  expect_refused(request, "--cfg: got -1");
  request = good_;
  request.top_k = 101;
  expect_refused(request, "--top-k: got 101, wanted 0 to 100");
  request = good_;
  request.top_p = 1.5F;
  expect_refused(request, "--top-p: got 1.5");
}

TEST_F(BadRequest, NamesThePolicy) {
  Request request = good_;
  request.kv = "ful";
  expect_refused(request, "did you mean full");
  request.kv = "full:budget=10%";
  expect_refused(request, "'full' has no settings");
  request.kv = "full:budget";
  expect_refused(request, "key=value");
  request.kv = "";
  expect_refused(request, "wanted a policy name");
  request.kv = "full:a=1,a=2";
  expect_refused(request, "given twice");
}

TEST_F(BadRequest, ForcedTokensMustFitTheBatch) {
  Engine engine({.model = model_.string()});
  Events events;
  for (const int64_t side : small_var_shape().patch_nums) {
    events.forced_labels.emplace_back(static_cast<size_t>(side * side), 99);
  }
  EXPECT_NO_THROW(engine.generate(good_, events));
  events.forced_labels[2][3] = 100;  // outside the vocabulary
  EXPECT_THROW(engine.generate(good_, events), Error);
  events.forced_labels[2].pop_back();
  EXPECT_THROW(engine.generate(good_, events), Error);
  events.forced_labels.pop_back();
  EXPECT_THROW(engine.generate(good_, events), Error);
}

TEST_F(BadRequest, CancellationStopsBetweenLayersAndGivesNoPicture) {
  std::atomic<bool> cancel = false;
  int64_t pictures = 0;
  Events events;
  events.cancel = &cancel;
  events.on_scale = [&](const ScaleEvent& event) { cancel = event.scale == 2; };
  events.on_image = [&](const GeneratedImage&) { ++pictures; };
  Engine engine({.model = model_.string()});
  try {
    engine.generate(good_, events);
    ADD_FAILURE() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
  EXPECT_EQ(pictures, 0);
  cancel = false;
  events.on_scale = nullptr;
  engine.generate(good_, events);  // the engine can go on
  EXPECT_EQ(pictures, 1);
}

}  // namespace
}  // namespace nextscale
