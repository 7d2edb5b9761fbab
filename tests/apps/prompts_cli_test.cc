// SPDX-License-Identifier: Apache-2.0
// Prompts on the command line: what a person types, files of prompts, and what is left after a run
// was stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "apps/tool.h"
#include "core/tensor.h"
#include "image/png.h"
#include "support/small_infinity.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// In single quotes, for sh.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char letter : text) result += letter == '\'' ? "'\\''" : std::string(1, letter);
  return result + "'";
}

class Prompts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    const InfinityFiles files = write_small_infinity(folder_->path());
    const std::string convert = kTool + " convert --family infinity --dtype f32 --size 0.06M" +
                                " --transformer " + files.transformer.string() + " --vae " +
                                files.vae.string() + " -o ";
    ASSERT_EQ(
        run(convert + model() + " --text-dtype f32 --text-encoder " + files.text_encoder.string())
            .code,
        0);
    ASSERT_EQ(run(convert + file("blind")).code, 0);  // without a text encoder
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string file(const std::string& name) { return (folder_->path() / name).string(); }
  static std::string model() { return file("model"); }
  static std::string write(const std::string& name, const std::string& text) {
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }
  static std::string generate(const std::string& rest) {
    return kTool + " generate -m " + model() + " " + rest;
  }
  // The recipe's command, run where it leaves again.png.
  static Result make_again(const std::string& picture) {
    const Result inspected = run(kTool + " inspect --json " + picture);
    const std::string command = json::parse(inspected.output).at("command");
    return run("cd " + folder_->path().string() + " && " + kTool + command.substr(9));
  }
  static void expect(const std::string& command, int code, const std::string& part) {
    const Result result = run(command);
    EXPECT_EQ(result.code, code) << command << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(part)) << command;
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

TEST_F(Prompts, MistakesSayWhatIsWanted) {
  const std::string to = " -o " + file("x.png");
  const std::string lines = write("one.txt", "a cat\n");
  expect(generate(to), 2, "give --class, -p, --prompts or --text-features");
  expect(generate("-p a --class 1" + to), 2, "--class and -p");
  expect(generate("-p a --prompts " + lines + to), 2, "-p and --prompts");
  expect(generate("--class 1" + to), 2, "reads prompts");
  expect(generate("--prompts " + lines + to), 2, "ending in /");
  expect(generate("--prompts " + file("absent.txt") + " -o " + file("x/")), 3, "absent.txt");
  expect(generate("--prompts " + write("bad.jsonl", "{\"promt\": 1}\n") + " -o " + file("x/")), 4,
         "line 1 of ");
  expect(generate("-p \"$(printf 'a\\377')\" -p b" + to), 2,
         "prompt 1 of 2: prompt: byte 1 (0xff)");
  expect(generate("-p a --size huge" + to), 2, "WIDTHxHEIGHT");
  expect(kTool + " generate -m " + file("blind") + " -p a" + to, 5, "--text-encoder");
  EXPECT_FALSE(fs::exists(file("x.png")));
  EXPECT_FALSE(fs::exists(file("x/manifest.jsonl")));
}

TEST_F(Prompts, ModelsOfClassesDoNotReadThem) {
  const TemporaryFolder folder;
  const std::string var = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  const std::string generate_var = kTool + " generate -m " + var;
  expect(generate_var + " -p a -o " + file("x.png"), 2, "class");
  expect(generate_var + " --prompts " + write("one.txt", "a\n") + " -o " + file("x/"), 2, "class");
  EXPECT_FALSE(fs::exists(file("x.png")));
}

// Quotes, what a shell or the option parser could take for syntax, lines, emoji.
TEST_F(Prompts, EveryTextSurvivesThePictureAndTheShell) {
  for (const std::string text :
       {"it's \"a\" $HOME `pwd` \\ !", "[a, b]", "{}", "--style raw", "-3 degrees", "", "a,b;c|d&e",
        "two\nlines\n", "🍎 Äpfel", "%%", "a=b"}) {
    const std::string picture = file("text.png");
    const Result made =
        run(generate("-s 5 -p " + quoted(text) + " --negative " + quoted(text) + " -o " + picture));
    ASSERT_EQ(made.code, 0) << text << made.output;
    const auto recipe = json::parse(*find_text(read_png_texts(picture), "nextscale"));
    EXPECT_EQ(recipe.at("prompts"), json::array({{{"text", text}, {"negative", text}}}));
    fs::remove(file("again.png"));
    const Result again = make_again(picture);
    ASSERT_EQ(again.code, 0) << text << again.output;
    EXPECT_EQ(read_png(picture), read_png(file("again.png"))) << text;
    EXPECT_EQ(*find_text(read_png_texts(file("again.png")), "nextscale"), recipe.dump()) << text;
  }
}

TEST_F(Prompts, SeveralMakeAGridThatIsMadeAgain) {
  const std::string picture = file("grid.png");
  ASSERT_EQ(run(generate("-p 'a cat' -p 'a dog' -p '' -n 2 -s 3 --tau 1 -o " + picture)).code, 0);
  const auto recipe = json::parse(*find_text(read_png_texts(picture), "nextscale"));
  EXPECT_EQ(recipe.at("prompts").size(), 3U);
  EXPECT_EQ(recipe.at("images_per_class"), 2);
  ASSERT_EQ(make_again(picture).code, 0);
  EXPECT_EQ(read_png(picture), read_png(file("again.png")));
}

TEST_F(Prompts, InAFolderPicturesGoByTheNumberOfTheirPrompt) {
  ASSERT_EQ(run(generate("-p 'a cat' -p 'a dog' -n 2 --first 1 -o " + file("typed/"))).code, 0);
  for (const char* name : {"0000_000001.png", "0000_000002.png", "0001_000001.png"}) {
    EXPECT_TRUE(fs::exists(file("typed/") + name)) << name;
  }
  EXPECT_NE(read_png(file("typed/0000_000001.png")), read_png(file("typed/0001_000001.png")));
}

TEST_F(Prompts, LongOnesAreCutWithANote) {
  const std::string longer(5000, 'a');
  const Result made = run(generate("-p " + longer + " -o " + file("long.png")));
  EXPECT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(made.output, HasSubstr("its end was left out"));
}

TEST_F(Prompts, TheSizeMadeIsTheNearestWithANote) {
  const Result made = run(generate("-p a --size 100x64 -o " + file("size.png")));
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(made.output, HasSubstr("100x64 is not a size of this model: making "));
  const PngInfo info = read_png_info(fs::path(file("size.png")));
  EXPECT_GT(info.width, info.height);
  ASSERT_EQ(make_again(file("size.png")).code, 0);
  EXPECT_EQ(read_png(file("size.png")), read_png(file("again.png")));
  EXPECT_THAT(run(generate("-p a -o " + file("own.png"))).output, Not(HasSubstr("not a size")));
}

TEST_F(Prompts, TheTextCacheChangesNoPicture) {
  ASSERT_EQ(run(generate("-p 'a cat' -o " + file("plain.png"))).code, 0);
  const std::string cached = "-p 'a cat' --text-cache " + file("texts") + " -o ";
  ASSERT_EQ(run(generate(cached + file("first.png"))).code, 0);
  EXPECT_FALSE(fs::is_empty(file("texts")));
  ASSERT_EQ(run(generate(cached + file("second.png"))).code, 0);
  EXPECT_EQ(run("cmp " + file("plain.png") + " " + file("first.png")).output, "");
  EXPECT_EQ(run("cmp " + file("plain.png") + " " + file("second.png")).output, "");
}

TEST_F(Prompts, FeaturesStandInForThem) {
  const Shape shape{5, small_infinity_shape().text_channels};
  const std::string path = file("features.safetensors");
  const std::vector<TensorInfo> infos{{"text_features.0", DType::kF32, shape},
                                      {"text_features.1", DType::kF32, shape}};
  SafetensorsWriter writer(path, infos);
  for (const float value : {0.25F, -0.75F}) {
    const std::vector<float> values(static_cast<size_t>(shape.num_elements()), value);
    writer.write(std::as_bytes(std::span(values)));
  }
  writer.finish();
  const std::string blind = kTool + " generate -m " + file("blind") + " --text-features " + path;
  const Result made = run(blind + " -n 2 -o " + file("blind.png"));
  ASSERT_EQ(made.code, 0) << made.output;
  ASSERT_EQ(make_again(file("blind.png")).code, 0);
  EXPECT_EQ(read_png(file("blind.png")), read_png(file("again.png")));
  ASSERT_EQ(run(blind + " -o " + file("felt/")).code, 0);
  EXPECT_TRUE(fs::exists(file("felt/0001_000000.png")));
}

TEST_F(Prompts, TracesTakeThemAll) {
  const std::string path = file("trace.safetensors");
  const Result traced =
      run(kTool + " trace -m " + model() +
          " -p a -p b -p c -p d -p e -p f --negative n --size 4scales -o " + path);
  ASSERT_EQ(traced.code, 0) << traced.output;
  EXPECT_EQ(SafetensorsFile(path).view("image").shape[0], 6);
}

TEST_F(Prompts, CalibrationsAreMeasuredOnThem) {
  const std::string lines = write("calibrate.jsonl",
                                  "{\"prompt\": \"a cat\", \"seed\": 3}\n"
                                  "{\"prompt\": \"a dog\", \"negative\": \"fog\"}\n");
  const std::string command = kTool + " calibrate -m " + model() + " --size 5scales -n 3 ";
  const Result made = run(command + "--prompts " + lines + " -o " + file("c.safetensors"));
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(run(kTool + " inspect " + file("c.safetensors")).output, HasSubstr("a cat"));
  expect(command + "-p a -p b -o " + file("d.safetensors"), 0, "d.safetensors");
  const std::string hack = "-p a --kv hackpp --calibration " + file("c.safetensors") + " -o ";
  expect(generate(hack + file("hack.png") + " --size 5scales"), 0, "hack.png");
  expect(generate(hack + file("other.png")), 5, "this one has 7");
  // Published results are merged into a file of the same geometry.
  std::ofstream(file("orders.json")) << "[[[1,1],[0,1],[1,0],[0,0]],[[1,1],[0,1],[1,0],[0,0]]]";
  expect(command + "--import-heatkv " + file("orders.json") + " -o " + file("c.safetensors"), 0,
         "c.safetensors");
}

TEST_F(Prompts, TheModelFolderSaysWhatItTakes) {
  const std::string said = run(kTool + " inspect " + model()).output;
  EXPECT_THAT(said, HasSubstr("12 bits per token"));
  EXPECT_THAT(said, HasSubstr("0.06M (64x64)"));
  EXPECT_THAT(said, HasSubstr("0.06M unless told otherwise"));
  EXPECT_THAT(said, HasSubstr("text encoder T5, 1 layers"));
  EXPECT_THAT(said, HasSubstr("--cfg 4 --tau 0.5"));
  EXPECT_THAT(run(kTool + " inspect " + file("blind")).output, HasSubstr("no text encoder"));
}

TEST_F(Prompts, PlansCountThem) {
  const Result planned = run(kTool + " plan -m " + model() + " --batch 3 --text-tokens 9 --json");
  ASSERT_EQ(planned.code, 0) << planned.output;
  const json plan = json::parse(planned.output);
  EXPECT_EQ(plan.at("text_tokens"), 9);
  EXPECT_TRUE(plan.at("memory").at("text_encoder_bytes").is_number());
  EXPECT_THAT(run(kTool + " plan -m " + model()).output, HasSubstr("Prompts of 64 tokens"));
}

// ---- Files of prompts ---------------------------------------------------------------------------

constexpr const char* kLines =
    "{\"prompt\": \"a cat\"}\n"
    "{\"prompt\": \"a dog\", \"negative\": \"fog\", \"n\": 3, \"name\": \"dog\"}\n"
    "\n"
    "{\"prompt\": \"\", \"seed\": 7}\n";

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Every picture's bytes, by name.
std::map<std::string, std::string> pictures_in(const fs::path& folder) {
  std::map<std::string, std::string> pictures;
  for (const std::string& name : names_in(folder)) {
    std::ifstream file(folder / name, std::ios::binary);
    if (name != "manifest.jsonl") {
      pictures[name] = {std::istreambuf_iterator<char>(file), {}};
    }
  }
  return pictures;
}

TEST_F(Prompts, AFileMakesThePicturesItNames) {
  const std::string lines = write("lines.jsonl", kLines);
  const Result made = run(generate("--prompts " + lines + " -n 2 -s 4 -o " + file("made/")));
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_EQ(
      names_in(file("made")),
      (std::set<std::string>{"000001_000.png", "000001_001.png", "000004_000.png", "000004_001.png",
                             "dog_000.png", "dog_001.png", "dog_002.png", "manifest.jsonl"}));
  ASSERT_EQ(run(generate("-p 'a dog' --negative fog -s 4 --first 2 -o " + file("dog.png"))).code,
            0);
  EXPECT_EQ(run("cmp " + file("dog.png") + " " + file("made/dog_002.png")).output, "");
  ASSERT_EQ(run(generate("-p '' -s 7 -o " + file("nothing.png"))).code, 0);
  EXPECT_EQ(run("cmp " + file("nothing.png") + " " + file("made/000004_000.png")).output, "");
  std::ifstream manifest(file("made/manifest.jsonl"));
  std::set<std::string> recorded;
  for (std::string line; std::getline(manifest, line);) {
    recorded.insert(json::parse(line).at("file"));
  }
  EXPECT_EQ(recorded.size(), 7U);
}

TEST_F(Prompts, TheSameCommandAgainMakesWhatIsMissing) {
  const std::string lines = write("lines.jsonl", kLines);
  const std::string command = generate("--prompts " + lines + " -o " + file("twice/") + " ");
  ASSERT_EQ(run(command).code, 0);
  const auto pictures = pictures_in(file("twice"));
  ASSERT_EQ(pictures.size(), 5U);
  expect(command, 0, "5 of 5 pictures are in ");
  fs::remove(file("twice/dog_001.png"));
  expect(command, 0, "4 of 5 pictures are in ");
  EXPECT_EQ(pictures_in(file("twice")), pictures);
}

TEST_F(Prompts, OtherSettingsInTheFolderAreRefusedUnlessForced) {
  const std::string lines = write("lines.jsonl", kLines);
  const std::string command = generate("--prompts " + lines + " -o " + file("other/") + " ");
  ASSERT_EQ(run(command).code, 0);
  const auto pictures = pictures_in(file("other"));
  expect(command + "--cfg 2", 2, "cfg: 4.0 there, 2.0 now");
  expect(command + "--size 5scales", 2, "size: \"0.06M\" there, \"5scales\" now");
  expect(command + "-s 1", 2, "seed: 0 there, 1 now");
  EXPECT_EQ(pictures_in(file("other")), pictures);
  expect(command + "--size 0.06M", 0, "5 of 5");
  expect(command + "--cfg 2 --force", 0, "000001_000.png");
  expect(command + "--cfg 2 --force", 0, "5 of 5");
  EXPECT_NE(pictures_in(file("other")), pictures);
}

TEST_F(Prompts, AKilledRunGoesOnAndEndsWithTheSamePictures) {
  std::string text;
  for (int line = 0; line < 20; ++line) text += "prompt " + std::to_string(line) + "\n";
  const std::string lines = write("many.txt", text);
  const auto arguments = [&](const std::string& folder) {
    return std::vector<std::string>{"generate", "-m", model(), "--prompts", lines, "--batch",
                                    "1",        "-t", "1",     "-o",        folder};
  };
  const std::string rest = "--prompts " + lines + " --batch 1 -t 1 -o ";
  ASSERT_EQ(run(generate(rest + file("whole/"))).code, 0);
  const std::string killed = file("killed/");
  EXPECT_TRUE(WIFSIGNALED(stop_at(arguments(killed), "images 5-5", SIGKILL)));
  EXPECT_TRUE(WIFSIGNALED(stop_at(arguments(killed), "images 3-3", SIGKILL)));
  const int interrupted = stop_at(arguments(killed), "images 2-2", SIGINT);
  ASSERT_TRUE(WIFEXITED(interrupted));
  EXPECT_EQ(WEXITSTATUS(interrupted), 130);
  EXPECT_LT(pictures_in(killed).size(), 20U);
  expect(generate(rest + killed), 0, "are skipped");
  EXPECT_EQ(pictures_in(killed), pictures_in(file("whole")));
}

}  // namespace
}  // namespace nextscale
