// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/expectation_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error_format.h"
#include "tests/support/temporary_folder.h"

namespace nextscale::cli {
namespace {

using testing::HasSubstr;

const JudgeLabels kLabels{
    .classes = {"cat", "dog"}, .colors = {"red"}, .relations = {"left of", "above"}};

class ExpectationFile : public testing::Test {
 protected:
  std::vector<ExpectedPicture> read(const std::string& text) {
    const std::filesystem::path path = folder_.path() / kExpectationsName;
    std::ofstream(path, std::ios::binary) << text;
    return read_expectations(path, kLabels);
  }
  std::string complaint(const std::string& text) {
    try {
      read(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_F(ExpectationFile, LinesAreCalledByTheirNamesOrNumbers) {
  const auto lines = read(
      "\xef\xbb\xbf"
      R"({"name": "first", "kind": "single", "sprites": ["cat"], "prompt": "a cat"}

{"kind": "count", "sprites": ["dog", "dog"], "class": "7", "n": 2, "seed": 1})");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].stem, "first");
  EXPECT_EQ(lines[0].expectation.sprites, std::vector<int64_t>{0});
  EXPECT_EQ(lines[1].stem, "000003");
  EXPECT_EQ(lines[1].class_name, "7");
  EXPECT_EQ(lines[1].expectation.kind, SceneKind::kCount);
}

TEST_F(ExpectationFile, ComplaintsNameTheLine) {
  const std::string good = R"({"kind": "single", "sprites": ["cat"]})";
  const auto expect = [&](const std::string& line, const std::string& part) {
    const std::string text = complaint(good + "\n" + line);
    EXPECT_THAT(text, HasSubstr("line 2 of ")) << line;
    EXPECT_THAT(text, HasSubstr(part)) << line;
  };
  expect("[1]", "wanted an object");
  expect("{", "is not valid JSON");
  expect(R"({"kinds": "single"})", "no key \"kinds\"; did you mean kind");
  expect(R"({"kind": "single", "sprites": ["cat"], "name": 3})", "\"name\" is 3, wanted a text");
  expect(R"({"kind": "single", "sprites": ["bird"]})", "names 'bird'");
}

TEST_F(ExpectationFile, EmptyFilesAreRefused) {
  EXPECT_THAT(complaint("\n \n"), HasSubstr("is empty"));
}

}  // namespace
}  // namespace nextscale::cli
