// SPDX-License-Identifier: Apache-2.0
// Judging pictures on the command line, and dumps of pictures for other tools.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/tool.h"
#include "image/png.h"
#include "support/small_infinity.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// The classes are dog, red apple, star, boat and key; the features 24.
const std::string kJudge = NEXTSCALE_TEST_DATA "/judge/judge.safetensors";
constexpr int kNumClasses = 5;
constexpr int kPerClass = 6;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All files of a folder by their paths in it.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), folder).string()] = bytes_of(entry.path());
    }
  }
  return files;
}

class Eval : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    RandomVarShape shape = small_var_shape();
    shape.classes = kNumClasses;
    shape.patch_nums = {1, 2};
    make_model(folder_->path(), shape, DType::kF32);
    const std::string names = write("names.txt", "dog, puppy\nred apple, apple\nstar\nboat\nkey\n");
    ASSERT_EQ(run(kTool + " convert --family var --dtype f32 --transformer " + file("var.pth") +
                  " --vae " + file("vae.pth") + " --patch-nums 1,2 --class-names " + names +
                  " -o " + file("named"))
                  .code,
              0);
    ASSERT_EQ(run(dump("dump") + " --npz " + file("all.npz")).code, 0);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string file(const std::string& name) { return (folder_->path() / name).string(); }
  static std::string write(const std::string& name, const std::string& text) {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }
  static std::string dump(const std::string& to, int seed = 3) {
    return kTool + " eval dump -t 1 -m " + file("named") + " --per-class " +
           std::to_string(kPerClass) + " -s " + std::to_string(seed) + " -o " + file(to);
  }
  static std::string eval(const std::string& rest) {
    return kTool + " eval -t 1 --judge " + kJudge + " " + rest;
  }
  static json judged(const std::string& rest) {
    const Result result = run(fmt::format("({} --json 2>/dev/null)", eval(rest)));
    EXPECT_EQ(result.code, 0) << rest << result.output;
    return json::parse(result.output, nullptr, false);
  }
  static void expect(const std::string& command, int code, const std::string& part) {
    const Result result = run(command);
    EXPECT_EQ(result.code, code) << command << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(part)) << command;
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

TEST_F(Eval, DumpMakesAFolderForEveryClass) {
  const auto files = files_of(file("dump"));
  EXPECT_EQ(files.size(), kNumClasses * kPerClass + 1U);
  EXPECT_TRUE(files.contains("settings.json"));
  EXPECT_TRUE(files.contains("0000_dog/000000.png"));
  EXPECT_TRUE(files.contains("0001_red_apple/000005.png"));
}

TEST_F(Eval, DumpedPicturesAreThoseOfGenerate) {
  ASSERT_EQ(run(kTool + " generate -t 1 -m " + file("named") + " --class apple --first 4 -s 3 -o " +
                file("apple.png"))
                .code,
            0);
  EXPECT_EQ(read_png(file("apple.png")), read_png(file("dump/0001_red_apple/000004.png")));
}

TEST_F(Eval, DumpGoesOnWhereItWasKilled) {
  ASSERT_NE(stop_at({"eval", "dump", "-t", "1", "-m", file("named"), "--per-class",
                     std::to_string(kPerClass), "-s", "3", "-o", file("killed")},
                    "images 5-8 of", SIGKILL),
            0);
  ASSERT_LT(files_of(file("killed")).size(), kNumClasses * kPerClass + 1U);
  expect(dump("killed"), 0, "are in '" + file("killed"));
  auto files = files_of(file("killed"));
  std::erase_if(files, [](const auto& each) { return each.first.ends_with(".tmp"); });
  EXPECT_EQ(files, files_of(file("dump")));
}

TEST_F(Eval, DumpMakesWhatIsMissingAndNothingElse) {
  fs::copy(file("dump"), file("holes"), fs::copy_options::recursive);
  fs::remove(file("holes/0002_star/000003.png"));
  write("holes/0000_dog/000000.png", "kept");
  ASSERT_EQ(run(dump("holes")).code, 0);
  EXPECT_EQ(bytes_of(file("holes/0002_star/000003.png")),
            bytes_of(file("dump/0002_star/000003.png")));
  EXPECT_EQ(bytes_of(file("holes/0000_dog/000000.png")), "kept");
}

TEST_F(Eval, DumpRefusesAFolderOfOtherPictures) {
  expect(dump("dump") + " --cfg 2", 2, "holds pictures of other settings (cfg: ");
  expect(dump("dump", 4), 2, "(seed: 3 there, 4 now)");
  fs::create_directory(file("other"));
  write("other/notes.txt", "mine");
  expect(dump("other"), 2, "wanted an empty folder");
}

TEST_F(Eval, NpzHoldsTheDumpedPictures) {
  const std::string zip = bytes_of(file("all.npz"));
  const size_t shape = zip.find("'shape': (30, 32, 32, 3)");
  ASSERT_NE(shape, std::string::npos);
  size_t place = zip.find('\n', shape) + 1;
  for (const auto& [name, ignored] : files_of(file("dump"))) {
    if (!name.ends_with(".png")) continue;
    const Image image = read_png(file("dump/" + name));
    ASSERT_EQ(std::memcmp(zip.data() + place, image.rgb.data(), image.rgb.size()), 0) << name;
    place += image.rgb.size();
  }
}

TEST_F(Eval, NpzOfAFullDiskLeavesNothing) {
  expect("ulimit -f 40; " + dump("dump") + " --npz " + file("full.npz"), 8, "npz: could not write");
  EXPECT_FALSE(fs::exists(file("full.npz")));
}

TEST_F(Eval, PicturesInMemoryAreJudgedAsThoseOfTheDump) {
  const json folder = judged("--pictures " + file("dump"));
  json memory = judged("-m " + file("named") + " -n 6 -s 3");
  EXPECT_EQ(folder["pictures"]["accuracies"], memory["pictures"]["accuracies"]);
  EXPECT_NEAR(folder["pictures"]["inception_score"].get<double>(),
              memory["pictures"]["inception_score"].get<double>(), 1e-9);
  EXPECT_EQ(folder["pictures"]["count"], kNumClasses * kPerClass);
  EXPECT_EQ(memory["generation"]["settings"]["kv"], "full");
  EXPECT_EQ(folder["pictures"]["accuracies"]["single"]["count"], kNumClasses * kPerClass);
}

TEST_F(Eval, ASetEqualsItself) {
  const json result = judged("--pictures " + file("dump") + " --against " + file("dump"));
  EXPECT_NEAR(result["frechet_distance"].get<double>(), 0.0, 1e-4);
  EXPECT_EQ(result["precision"]["mean"], 1.0);
  EXPECT_EQ(result["recall"]["mean"], 1.0);
  EXPECT_EQ(result["reference"]["accuracies"], result["pictures"]["accuracies"]);
}

TEST_F(Eval, ThePrintedFiguresHaveIntervals) {
  const Result result = run(eval("--pictures " + file("dump") + " --against " + file("dump")));
  EXPECT_EQ(result.code, 0);
  for (const char* part : {"single object", "all as expected", "inception-style score",
                           "Fréchet distance", "precision", "recall", " to ", "reference: "}) {
    EXPECT_THAT(result.output, HasSubstr(part));
  }
}

TEST_F(Eval, TheJudgeOfTheModelFolderIsTheDefault) {
  expect(kTool + " eval -t 1 -m " + file("named") + " --class star", 2,
         "none is in the model folder");
  fs::copy(file("named"), file("judged"), fs::copy_options::recursive);
  fs::copy(kJudge, file("judged/judge.safetensors"));
  expect(kTool + " eval -t 1 -m " + file("judged") + " --class star", 0, "single object");
}

TEST_F(Eval, ExpectationsNameTheClasses) {
  const std::string lines =
      write("classes.jsonl",
            R"({"class": "apple", "kind": "single", "sprites": ["red apple"], "color": "red"}
{"class": "dog", "kind": "single", "sprites": ["dog"]}
{"class": "apple", "kind": "single", "sprites": ["red apple"]}
)");
  const json result = judged("-m " + file("named") + " -n 2 --expect " + lines);
  EXPECT_EQ(result["pictures"]["count"], 6);
  EXPECT_FALSE(result["pictures"]["accuracies"].contains("color"));
}

TEST_F(Eval, MistakesSayWhatIsWanted) {
  const std::string dumped = "--pictures " + file("dump");
  expect(kTool + " eval", 2, "got neither");
  expect(eval(dumped + " -m " + file("named")), 2, "got both");
  expect(kTool + " eval " + dumped, 2, "--judge: none given");
  expect(kTool + " eval " + dumped + " --judge " + file("absent"), 3, "absent");
  expect(kTool + " eval " + dumped + " --judge " + file("named/vae.safetensors"), 5,
         "wanted 'nextscale-judge'");
  expect(eval("--pictures " + file("absent")), 3, "there is no folder");
  expect(eval("-m " + file("model")), 5, "--class-names");
  fs::create_directories(file("empty"));
  expect(eval("--pictures " + file("empty")), 2, "holds no picture");
  expect(eval("-m " + file("named") + " --against " + file("dump") + " -n 4"), 2,
         "set of 20 pictures, wanted at least 25");
  expect(eval(dumped + " --expect " + write("bad.jsonl", "{\"kind\": \"singel\"}\n")), 4,
         "line 1 of ");
  expect(eval(dumped + " --expect " +
              write("elsewhere.jsonl", R"({"kind": "single", "sprites": ["dog"], "name": "x"})")),
         5, "speaks of none of the 30 pictures");
  expect(eval("-m " + file("named") + " --expect " +
              write("classless.jsonl", R"({"kind": "single", "sprites": ["dog"]})")),
         4, "has no \"class\"");
}

TEST_F(Eval, RefusesPicturesOfSeveralSizes) {
  fs::create_directories(file("sizes"));
  write_png(file("sizes/a.png"), {.width = 1, .height = 1, .rgb = {0, 0, 0}});
  write_png(file("sizes/b.png"), {.width = 2, .height = 1, .rgb = {0, 0, 0, 0, 0, 0}});
  expect(eval("--pictures " + file("sizes")), 5, "has 2x1 pixels, but");
}

TEST_F(Eval, RefusesClassesThatTheJudgeDoesNotKnow) {
  const std::string names = write("others.txt", "dog\napple\nstar\nboat\nkey\n");
  ASSERT_EQ(
      run(kTool + " convert --family var --transformer " + file("var.pth") + " --vae " +
          file("vae.pth") + " --patch-nums 1,2 --class-names " + names + " -o " + file("others"))
          .code,
      0);
  expect(eval("-m " + file("others")), 5, "class 1 is called 'apple', which this judge does not");
  expect(eval("-m " + file("others") + " --class dog"), 0, "single object");
}

TEST_F(Eval, PromptsAreJudgedInMemoryAsInAFolder) {
  const TemporaryFolder folder;
  const InfinityFiles files = write_small_infinity(folder.path());
  ASSERT_EQ(run(kTool + " convert --family infinity --dtype f32 --size 0.06M --transformer " +
                files.transformer.string() + " --vae " + files.vae.string() + " -o " +
                file("texts") + " --text-dtype f32 --text-encoder " + files.text_encoder.string())
                .code,
            0);
  const std::string lines = write(
      "scenes.jsonl",
      R"({"prompt": "a dog left of a key", "kind": "pair", "sprites": ["dog", "key"], "relation": "left of"}
{"prompt": "three stars on red", "kind": "count", "sprites": ["star", "star", "star"], "color": "red", "name": "stars"}
)");
  const std::string model = " -m " + file("texts") + " -s 5 ";
  ASSERT_EQ(
      run(kTool + " generate -t 1" + model + "--prompts " + lines + " -o " + file("scenes/")).code,
      0);
  const json memory = judged(model + "--expect " + lines);
  const json there = judged("--pictures " + file("scenes") + " --expect " + lines);
  EXPECT_EQ(memory["pictures"]["accuracies"], there["pictures"]["accuracies"]);
  EXPECT_EQ(there["pictures"]["accuracies"]["position"]["count"], 1);
  EXPECT_EQ(there["pictures"]["accuracies"]["all"]["count"], 2);
  expect(eval(model), 2, "--expect: none given");
  expect(kTool + " eval dump" + model + " -o " + file("no"), 2, "reads prompts");
}

}  // namespace
}  // namespace nextscale
