// SPDX-License-Identifier: Apache-2.0
#include "judge/judge_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error_format.h"
#include "tests/support/temporary_folder.h"

namespace nextscale {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A judge of 2 classes, 3 colours and 2 convolutions, one of them pooled.
struct MadeJudge {
  std::map<std::string, std::string> metadata{{"format", "nextscale-judge"},
                                              {"version", "1"},
                                              {"classes", "cat,red apple"},
                                              {"colors", "red,green,blue"},
                                              {"side", "8"},
                                              {"relations", "left of,above"},
                                              {"pools", "1"},
                                              {"threshold", "0.4"}};
  std::map<std::string, Shape> tensors{{"trunk.0.weight", {4, 3, 3, 3}}, {"trunk.0.bias", {4}},
                                       {"trunk.1.weight", {6, 4, 3, 3}}, {"trunk.1.bias", {6}},
                                       {"heatmap.weight", {2, 6, 1, 1}}, {"heatmap.bias", {2}},
                                       {"color.weight", {3, 6}},         {"color.bias", {3}}};

  std::filesystem::path write(const std::filesystem::path& folder) const {
    std::vector<TensorInfo> infos;
    size_t bytes = 0;
    for (const auto& [name, shape] : tensors) {
      infos.push_back({name, DType::kF32, shape});
      bytes += infos.back().num_bytes();
    }
    SafetensorsWriter writer(folder / kJudgeName, infos, metadata);
    writer.write(std::vector<std::byte>(bytes));
    writer.finish();
    return folder / kJudgeName;
  }
};

// What reading the changed judge says; the code in front.
std::string complaint(const std::function<void(MadeJudge&)>& change) {
  const TemporaryFolder folder;
  MadeJudge judge;
  change(judge);
  const SafetensorsFile file(judge.write(folder.path()));
  try {
    read_judge_config(file);
  } catch (const Error& error) {
    return fmt::format("{}: {}", static_cast<int>(error.code()), error.what());
  }
  return "accepted";
}

std::string complaint_about(const std::string& key, const std::string& value) {
  return complaint([&](MadeJudge& judge) { judge.metadata[key] = value; });
}

std::string complaint_about(const std::string& name, const Shape& shape) {
  return complaint([&](MadeJudge& judge) { judge.tensors[name] = shape; });
}

TEST(JudgeFile, ShapeComesFromTheTensors) {
  const TemporaryFolder folder;
  const SafetensorsFile file(MadeJudge().write(folder.path()));
  const JudgeConfig config = read_judge_config(file);
  EXPECT_THAT(config.widths, ElementsAre(4, 6));
  EXPECT_THAT(config.pools, ElementsAre(false, true));
  EXPECT_EQ(config.num_features(), 6);
  EXPECT_EQ(config.cells(), 4);
  EXPECT_THAT(config.labels.classes, ElementsAre("cat", "red apple"));
}

TEST(JudgeFile, RefusesOtherFormatsAndVersions) {
  EXPECT_THAT(complaint_about("format", "nextscale-model"),
              AllOf(HasSubstr("5: "), HasSubstr("'nextscale-model', wanted 'nextscale-judge'")));
  EXPECT_THAT(complaint_about("version", "2"), HasSubstr("version '2', wanted 1"));
  EXPECT_THAT(complaint([](MadeJudge& judge) { judge.metadata.clear(); }),
              HasSubstr("has no 'format' in its metadata"));
}

TEST(JudgeFile, RefusesTensorsThatDoNotFit) {
  EXPECT_THAT(complaint_about("trunk.1.weight", Shape{6, 5, 3, 3}),
              HasSubstr("has the shape [6, 5, 3, 3], wanted [6, 4, 3, 3]"));
  EXPECT_THAT(complaint_about("trunk.0.bias", Shape{3}), HasSubstr("wanted [4]"));
  EXPECT_THAT(complaint_about("trunk.0.weight", Shape{}), HasSubstr("has the shape []"));
  EXPECT_THAT(complaint_about("color.weight", Shape{3, 5}), HasSubstr("wanted [3, 6]"));
}

TEST(JudgeFile, RefusesOtherNumbersOfNames) {
  EXPECT_THAT(complaint_about("classes", "cat,red apple,dog"), HasSubstr("'heatmap.weight'"));
  EXPECT_THAT(complaint_about("colors", "red"), HasSubstr("'color.weight'"));
  EXPECT_THAT(complaint_about("classes", "cat,cat"), HasSubstr("wanted names that all differ"));
  EXPECT_THAT(complaint_about("classes", "cat,"), HasSubstr("wanted names between commas"));
}

TEST(JudgeFile, RefusesMissingTensors) {
  EXPECT_THAT(complaint([](MadeJudge& judge) { judge.tensors.erase("heatmap.bias"); }),
              HasSubstr("lacks the tensor 'heatmap.bias'"));
  EXPECT_THAT(complaint([](MadeJudge& judge) { judge.tensors.erase("trunk.0.weight"); }),
              HasSubstr("lacks the tensor 'trunk.0.weight'"));
}

TEST(JudgeFile, RefusesImpossibleNumbers) {
  EXPECT_THAT(complaint_about("side", "0"), HasSubstr("4: judge: 'side'"));
  EXPECT_THAT(complaint_about("side", "7"), HasSubstr("can be halved 1 times"));
  EXPECT_THAT(complaint_about("pools", "0,2"), HasSubstr("0 to 1"));
  EXPECT_THAT(complaint_about("threshold", "high"), HasSubstr("wanted a probability"));
  EXPECT_THAT(complaint_about("threshold", "nan"), HasSubstr("wanted a probability"));
}

}  // namespace
}  // namespace nextscale
