// SPDX-License-Identifier: Apache-2.0
// The tool as a person uses it: commands, files, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/tool.h"
#include "engine/trace_recorder.h"
#include "image/png.h"
#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"
#include "weights/safetensors.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Cli : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    model_ = new std::string(make_model(folder_->path(), small_var_shape(), DType::kF32).string());
  }
  static void TearDownTestSuite() {
    delete model_;
    delete folder_;
  }

  static std::string file(const std::string& name) { return (folder_->path() / name).string(); }
  static std::string generate(const std::string& rest) {
    return kTool + " generate -m " + *model_ + " --class 1 " + rest;
  }

  inline static TemporaryFolder* folder_ = nullptr;
  inline static std::string* model_ = nullptr;
};

TEST_F(Cli, MistakesGetOneSentenceAndTheirExitCode) {
  const auto expect = [](const std::string& command, int code, const std::string& part) {
    const Result result = run(command);
    EXPECT_EQ(result.code, code) << command << "\n" << result.output;
    EXPECT_THAT(result.output, HasSubstr(part)) << command;
    EXPECT_THAT(result.output, testing::StartsWith("nextscale: ")) << command;
    EXPECT_EQ(std::ranges::count(result.output, '\n'), 1) << result.output;
  };
  expect(kTool + " generat", 2, "did you mean generate");
  expect(kTool + " generate --sed 1", 2, "did you mean --seed");
  expect(kTool, 2, "--help");
  expect(kTool + " generate -m " + *model_ + " --seed 1", 2, "nothing is named");
  expect(generate("-p 'a cat' -o " + file("x.png")), 2, "--class and -p");
  expect(generate("--negative 'a cat' -o " + file("x.png")), 2, "goes with prompts");
  expect(kTool + " generate -m " + *model_ + " --size 64 --class 1", 2, "leave it out");
  expect(kTool + " generate -m /nowhere --class 1", 3, "/nowhere");
  expect(generate("--class 99 -o " + file("x.png")), 3, "99");
  expect(generate("-s -1"), 2, "seed");
  expect(generate("-n 0 -o " + file("x.png")), 2, "-n: got 0");
  expect(generate("--dtype f8 -o " + file("x.png")), 2, "f8");
  expect(generate("--kv hak -o " + file("x.png")), 2, "did you mean hack");
  expect(generate("--kv hack -o " + file("x.png")), 3, "nextscale calibrate -m MODEL");
  expect(generate("--kv h2o:budget=0% -o " + file("x.png")), 2, "budget=30%");
  expect(generate("-o /nowhere/x.png"), 8, "/nowhere");
  expect(generate("-o " + file("x.jpg")), 2, ".png");
  expect(generate("-n 1001 -o " + file("x.png")), 2, "folder ending in /");
  expect(generate("--memory 1MiB -o " + file("x.png")), 7, "too much");
  expect(generate("--memory lots -o " + file("x.png")), 2, "8GiB");
  expect(kTool + " inspect " + file("absent"), 3, "absent");
  expect(kTool + " bench", 2, "--help");
  expect(kTool + " bench kw", 2, "did you mean kv");
  expect(kTool + " bench kv --siz x", 2, "did you mean --size");
  expect(kTool + " bench kv -m var-d17", 3, "did you mean var-d16");
  expect(kTool + " bench kv --layers 17", 2, "1 to 16");
  expect(kTool + " bench kv -t 2 --cpu-time", 2, "-t 1");
  expect(kTool + " bench model -m hart", 6, "do not run yet");
  expect(kTool + " plan -m infinity-9b", 3, "did you mean infinity-2b");
  expect(kTool + " plan -m var-d16 --size 300", 2, "wanted 256");
  expect(kTool + " plan -m var-d16 --batch 0", 2, "--batch: got 0");
  expect(kTool + " plan -m var-d16 --memory lots", 2, "8GiB");
  expect(kTool + " plan -m var-d16 --accounting rough", 2, "engine or paper");
  expect(kTool + " convert --family dall-e --transformer a --vae b -o c", 2, "no family");
  EXPECT_FALSE(fs::exists(file("x.png")));
}

TEST_F(Cli, ListsAndVersionAreJsonOnRequest) {
  for (const char* command : {" version --json", " models --json", " policies --json"}) {
    const Result result = run(kTool + command);
    EXPECT_EQ(result.code, 0);
    EXPECT_TRUE(nlohmann::json::accept(result.output)) << result.output;
  }
  EXPECT_THAT(run(kTool + " policies").output, HasSubstr("full"));
}

TEST_F(Cli, BenchComparesPoliciesWithTheFullCache) {
  const std::string bench = kTool + " bench kv -m " + *model_ + " --repeats 1 --kv streaming";
  const Result result = run(bench + " --json");
  ASSERT_EQ(result.code, 0) << result.output;
  const auto report = nlohmann::json::parse(result.output);
  const auto& policies = report.at("policies");
  ASSERT_EQ(policies.size(), 2);
  EXPECT_EQ(policies[0].at("kv"), "full");
  EXPECT_EQ(policies[0].at("scoring").at("median_ms"), 0.0);
  EXPECT_GT(policies[0].at("attention").at("median_ms"), 0.0);
  EXPECT_LT(policies[1].at("held_bytes"), policies[0].at("held_bytes"));
  EXPECT_THAT(run(bench).output, HasSubstr("other programs"));
  EXPECT_THAT(run(bench + " --layers 1 --markdown").output, HasSubstr("| streaming |"));
}

TEST_F(Cli, BenchTimesAModelStageByStage) {
  const std::string of_two = " -m " + *model_ + " --json";
  const Result result = run(kTool + " bench model --repeats 1 --images 2" + of_two);
  ASSERT_EQ(result.code, 0) << result.output;
  const auto report = nlohmann::json::parse(result.output);
  EXPECT_EQ(report.at("rows"), 4);
  EXPECT_GT(report.at("floor_ms").get<double>(), 0.0);
  // What was counted on the way is what the plan says beforehand.
  const auto plan = nlohmann::json::parse(run(kTool + " plan --batch 2" + of_two).output);
  const auto& stages = report.at("stages");
  EXPECT_EQ(stages.at("projections").at("operations"), plan.at("projection_flops"));
  EXPECT_EQ(stages.at("attention").at("operations"), plan.at("attention_flops"));
  for (const char* stage : {"ffn", "head", "decoder"}) {
    EXPECT_GT(stages.at(stage).at("operations").get<double>(), 0.0) << stage;
  }
  EXPECT_THAT(
      run(kTool + " bench model --repeats 1 --no-warmup --kv streaming -m " + *model_).output,
      AllOf(HasSubstr("projections"), HasSubstr("the first included")));
}

TEST_F(Cli, CompareMeasuresPoliciesAndDrawsThem) {
  const std::string compare = kTool + " compare -m " + *model_ + " --class 1,2 -t 1 ";
  const Result json = run("(" + compare + "-n 2 --kv h2o:budget=30% --json 2>/dev/null)");
  ASSERT_EQ(json.code, 0) << json.output;
  const auto comparison = nlohmann::json::parse(json.output);
  EXPECT_EQ(comparison.at("num_pictures"), 4);
  EXPECT_EQ(comparison.at("policies")[0].at("kv"), "full");
  EXPECT_GT(comparison.at("policies")[1].at("divergence").at("mean"), 0);
  const Result text = run(compare + "--kv streaming --kv full -o " + file("compare.html"));
  ASSERT_EQ(text.code, 0) << text.output;
  EXPECT_THAT(text.output, HasSubstr("KL per token"));
  EXPECT_TRUE(fs::exists(file("compare.html")));
}

TEST_F(Cli, CompareRefusesMistakesBeforeThePageIsBegun) {
  const auto expect = [](const std::string& rest, int code, const std::string& part) {
    const Result result = run(kTool + " compare -m " + *model_ + " " + rest);
    EXPECT_EQ(result.code, code) << rest;
    EXPECT_THAT(result.output, testing::StartsWith("nextscale: "));
    EXPECT_THAT(result.output, HasSubstr(part));
  };
  const std::string page = " -o " + file("no.html");
  expect("--kv h2o" + page, 2, "give --class, -p or --prompts");
  expect("--class 1" + page, 2, "got one policy");
  expect("--class 1 --kv full" + page, 2, "got one policy");
  expect("--class 1 --kv hak" + page, 2, "did you mean hack");
  expect("--class 1 --kv hackpp" + page, 3, "nextscale calibrate");
  expect("--class 1 --kv h2o -o /nowhere/no.html", 8, "/nowhere");
  EXPECT_FALSE(fs::exists(file("no.html")));
}

TEST_F(Cli, AnInterruptedComparisonLeavesNothingBehind) {
  const int status = stop_at({"compare", "-m", *model_, "--class", "1", "-n", "1000", "--kv", "h2o",
                              "-t", "1", "-o", file("stopped.html")},
                             "run 3 of", SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  for (const auto& entry : fs::directory_iterator(folder_->path())) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr("stopped")));
  }
}

TEST_F(Cli, PlanOfAFolderKnowsEveryPart) {
  const Result planned = run(kTool + " plan -m " + *model_ + " --kv snapkv:budget=40% --json");
  ASSERT_EQ(planned.code, 0) << planned.output;
  const auto memory = nlohmann::json::parse(planned.output).at("memory");
  EXPECT_TRUE(memory.at("complete"));
  EXPECT_TRUE(memory.at("activations_bytes").is_number());
  EXPECT_GE(memory.at("kv_reserved_bytes"), memory.at("kv_peak_bytes"));
}

TEST_F(Cli, PlanNeedsNoFilesForPublishedModels) {
  const Result paper =
      run(kTool + " plan -m infinity-2b --kv h2o:budget=30% --accounting paper --json");
  ASSERT_EQ(paper.code, 0) << paper.output;
  EXPECT_EQ(nlohmann::json::parse(paper.output).at("attention_tflops"), "15.34");
  const Result text = run(kTool + " plan -m var-d30 --batch 64 --kv streaming --memory 5GiB");
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.output, HasSubstr("what fits is --batch"));
}

TEST_F(Cli, ShellsCompleteCommandsAndOptions) {
  const auto complete = [](const std::string& words) {
    const std::string script = "source <(" + kTool + " completions bash); COMP_WORDS=(" + words +
                               "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _nextscale; echo "
                               "${COMPREPLY[@]}";
    return run("bash -c '" + script + "'").output;
  };
  EXPECT_EQ(complete("nextscale pl"), "plan\n");
  EXPECT_EQ(complete("nextscale plan --mem"), "--memory\n");
  EXPECT_EQ(complete("nextscale bench \"\""), "kv ceiling model\n");
  EXPECT_EQ(complete("nextscale bench kv --rep"), "--repeats\n");
  EXPECT_THAT(run(kTool + " completions tcsh").output, HasSubstr("wanted bash, zsh or fish"));
}

TEST_F(Cli, ManualAndCompletionsNameEveryCommand) {
  for (const char* text : {" man", " completions zsh", " completions fish"}) {
    const Result result = run(kTool + text);
    EXPECT_EQ(result.code, 0);
    for (const char* command :
         {"generate", "compare", "convert", "inspect", "trace", "plan", "bench"}) {
      EXPECT_THAT(result.output, HasSubstr(command)) << text;
    }
  }
}

TEST_F(Cli, InspectPrintsTheCommandThatMakesThePictureAgain) {
  ASSERT_EQ(run(generate("-n 3 -s 7 --cfg 2.5 --top-k 50 -o " + file("grid.png"))).code, 0);
  const Result inspected = run(kTool + " inspect --json " + file("grid.png"));
  ASSERT_EQ(inspected.code, 0) << inspected.output;
  std::string command = nlohmann::json::parse(inspected.output).at("command");
  ASSERT_THAT(command, testing::StartsWith("nextscale generate"));
  command = "cd " + folder_->path().string() + " && " + kTool + command.substr(9);
  ASSERT_EQ(run(command).code, 0);
  EXPECT_EQ(read_png(file("grid.png")), read_png(file("again.png")));
}

TEST_F(Cli, Int8ProductsAreRunPlannedBenchedAndRecorded) {
  ASSERT_EQ(run(generate("--dtype int8 -o " + file("int8.png"))).code, 0);
  EXPECT_THAT(run(kTool + " inspect " + file("int8.png")).output, HasSubstr("--dtype int8"));
  const auto weights = [&](const std::string& dtype) {
    const Result planned = run(kTool + " plan -m " + *model_ + " --json --dtype " + dtype);
    EXPECT_EQ(planned.code, 0) << planned.output;
    const auto plan = nlohmann::json::parse(planned.output);
    EXPECT_EQ(plan.at("dtype"), dtype);
    return plan.at("memory").at("weights_bytes").get<int64_t>();
  };
  EXPECT_LT(weights("int8"), weights("bf16"));
  const Result bench =
      run(kTool + " bench kv -m " + *model_ + " --repeats 1 --dtype int8 --kv-dtype int8 --json");
  ASSERT_EQ(bench.code, 0) << bench.output;
  EXPECT_EQ(nlohmann::json::parse(bench.output).at("dtype"), "int8");
}

TEST_F(Cli, FolderOutputWritesOneFileAPictureWithItsOwnRecipe) {
  ASSERT_EQ(run(generate("--class 2 -n 2 --first 5 -o " + file("pictures/"))).code, 0);
  for (const char* name : {"0001_000005.png", "0001_000006.png", "0002_000005.png"}) {
    EXPECT_THAT(run(kTool + " inspect " + file("pictures/") + name).output,
                HasSubstr("made again by"));
  }
}

TEST_F(Cli, OptionsComeFromTheEnvironmentToo) {
  ASSERT_EQ(run(generate("-s 11 -o " + file("flag.png"))).code, 0);
  ASSERT_EQ(run("NEXTSCALE_SEED=11 " + generate("-o " + file("environment.png"))).code, 0);
  EXPECT_EQ(read_png(file("flag.png")), read_png(file("environment.png")));
}

TEST_F(Cli, PreviewEndsAsThePicture) {
  ASSERT_EQ(run(generate("--preview " + file("preview.png") + " -o " + file("final.png"))).code, 0);
  EXPECT_EQ(read_png(file("preview.png")), read_png(file("final.png")));
}

TEST_F(Cli, InterruptLeavesNothingBehind) {
  // The plan says that it is running.
  const int status =
      stop_at({"generate", "-m", *model_, "--class", "1", "-n", "1000", "-o", file("never.png")},
              "plan", SIGINT);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  for (const auto& entry : fs::directory_iterator(folder_->path())) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr("never")));
  }
}

TEST_F(Cli, AKilledCalibrationGoesOnAndEndsWithTheSameFile) {
  const std::string settings = " calibrate -m " + *model_ + " -n 60 --batch 1 -t 1 --dtype f32 -o ";
  const std::string output = file("killed.safetensors");
  ASSERT_EQ(run(kTool + settings + file("whole.safetensors")).code, 0);
  const int status = stop_at({"calibrate", "-m", *model_, "-n", "60", "--batch", "1", "-t", "1",
                              "--dtype", "f32", "-o", output},
                             "samples 5-5", SIGKILL);
  EXPECT_TRUE(WIFSIGNALED(status));
  ASSERT_FALSE(fs::exists(output));
  ASSERT_TRUE(fs::exists(output + ".partial"));
  const Result resumed = run(kTool + settings + output);
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("going on after"));
  EXPECT_EQ(run("cmp " + output + " " + file("whole.safetensors")).output, "");
  EXPECT_FALSE(fs::exists(output + ".partial"));
}

TEST_F(Cli, CalibrationsAreMadeShownAndDrawn) {
  const std::string output = file("c.safetensors");
  const std::string command =
      kTool + " calibrate -m " + *model_ + " -n 2 --classes 3,7 -o " + output;
  ASSERT_EQ(run(command).code, 0);
  const Result again = run(command);
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.output, HasSubstr("--force to replace it"));
  EXPECT_EQ(run(command + " --force").code, 0);
  const Result shown = run(kTool + " inspect " + output);
  EXPECT_THAT(shown.output, HasSubstr("measured on 2 samples of 2 classes: 3, 7"));
  EXPECT_TRUE(nlohmann::json::accept(run(kTool + " inspect --json " + output).output));
  EXPECT_EQ(run(kTool + " report " + output + " --kv hackpp:alpha=0.5 -o " + file("r.html")).code,
            0);
  EXPECT_TRUE(fs::exists(file("r.html")));
  ASSERT_EQ(run(generate("--kv hackpp --calibration " + output + " -o " + file("h.png"))).code, 0);
  EXPECT_THAT(run(kTool + " inspect " + file("h.png")).output,
              HasSubstr("--calibration " + output));
  const Result planned =
      run(kTool + " plan -m " + *model_ + " --kv hackpp --calibration " + output);
  EXPECT_EQ(planned.code, 0) << planned.output;
  EXPECT_THAT(planned.output, testing::Not(HasSubstr("No calibration was given")));
}

TEST_F(Cli, CalibrateRefusesToReplaceWhatIsNoCalibration) {
  const std::string weights = *model_ + "/model.safetensors";
  const Result result = run(kTool + " calibrate -m " + *model_ + " --force -o " + weights);
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.output, HasSubstr("is no calibration"));
}

TEST_F(Cli, PublishedRankingsAreMergedIntoACalibration) {
  const std::string output = file("merged.safetensors");
  const std::string orders = file("orders.json");
  // Two layers of two heads; the scales but the last two are the sinks.
  std::ofstream(orders) << "[[[1,1],[0,1],[1,0],[0,0]]]";
  const std::string merge = kTool + " calibrate --import-heatkv " + orders + " -o " + output;
  EXPECT_THAT(run(merge).output, HasSubstr("name the model with -m"));
  ASSERT_EQ(run(kTool + " calibrate -m " + *model_ + " -n 1 -o " + output).code, 0);
  ASSERT_EQ(run(merge).code, 0);
  const std::string shown = run(kTool + " inspect " + output).output;
  EXPECT_THAT(shown, HasSubstr("measured on 1 sample of"));
  EXPECT_THAT(shown, HasSubstr("imported for heatkv: orders.json"));
  EXPECT_THAT(run(merge).output, HasSubstr("--force"));
  EXPECT_EQ(run(merge + " --force").code, 0);
  EXPECT_EQ(run(merge + "2 -m " + *model_).code, 0);
  EXPECT_THAT(run(kTool + " inspect " + output + "2").output, HasSubstr("nothing was measured"));
}

TEST_F(Cli, FullDiskLeavesNothingBehind) {
  // A file size limit of one block refuses writes as a full disk does.
  const Result result = run("sh -c 'ulimit -f 1; " + generate("-o " + file("full.png")) + "'");
  EXPECT_EQ(result.code, 8) << result.output;
  for (const auto& entry : fs::directory_iterator(folder_->path())) {
    EXPECT_THAT(entry.path().string(), testing::Not(HasSubstr("full.png")));
  }
}

TEST_F(Cli, ConvertStoresEightBits) {
  const std::string data = std::string(NEXTSCALE_TEST_DATA) + "/var/tiny_a/";
  const auto convert = [&](const std::string& dtype) {
    return run(kTool + " convert --family var --transformer " + data + "var.pth --vae " + data +
               "vae.pth --patch-nums 1,2,3,4 --dtype " + dtype + " -o " + file("as_" + dtype));
  };
  EXPECT_THAT(convert("f16").output, HasSubstr("--dtype: got 'f16', wanted f32, bf16 or int8"));
  ASSERT_EQ(convert("bf16").code, 0);
  ASSERT_EQ(convert("int8").code, 0);
  EXPECT_LT(fs::file_size(file("as_int8/model.safetensors")),
            fs::file_size(file("as_bf16/model.safetensors")));
  EXPECT_EQ(run(kTool + " inspect --verify " + file("as_int8")).code, 0);
  const Result made = run(kTool + " generate -m " + file("as_int8") +
                          " --class 3 --dtype int8 -o " + file("from_int8.png"));
  EXPECT_EQ(made.code, 0) << made.output;
}

// The golden tests check in-process runs; the same tensors must come out of the tool.
TEST_F(Cli, ConvertAndTraceGiveWhatTheLibraryGives) {
  const std::string data = std::string(NEXTSCALE_TEST_DATA) + "/var/tiny_a/";
  ASSERT_EQ(run(kTool + " convert --family var --transformer " + data + "var.pth --vae " + data +
                "vae.pth --dtype f32 --patch-nums 1,2,3,4 -o " + file("golden"))
                .code,
            0);
  const Result traced =
      run(kTool + " trace -m " + file("golden") +
          " --class 3,7 --cfg 1.5 --greedy --dtype f32 --attn -o " + file("trace.safetensors"));
  ASSERT_EQ(traced.code, 0) << traced.output;
  TraceRecorder recorder(TraceRecorder::Attention::kYes);
  Events events;
  events.trace = &recorder;
  Request request{.classes = {"3", "7"}, .cfg = 1.5F, .greedy = true};
  request.batch = 2;
  Engine engine({.model = file("golden"), .dtype = Precision::kF32});
  engine.generate(request, events);
  const SafetensorsFile written(file("trace.safetensors"));
  ASSERT_EQ(written.tensors().size(), recorder.tensors().size());
  for (const auto& [name, tensor] : recorder.tensors()) {
    const ConstTensorView view = written.view(name);
    ASSERT_EQ(view.shape, tensor.shape()) << name;
    EXPECT_EQ(std::memcmp(view.data, tensor.as<std::byte>(), tensor.num_bytes()), 0) << name;
  }
}

}  // namespace
}  // namespace nextscale
