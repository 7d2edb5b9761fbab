// SPDX-License-Identifier: Apache-2.0
// Published Infinity sizes, from files in the official naming and container to a picture, within
// the memory that the plan prints. Random weights; the 2B file is over 4 GiB, so its ZIP64 is real.
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_infinity.h"
#include "apps/random_checkpoint/random_t5.h"
#include "apps/tool.h"
#include "image/png.h"
#include "models/infinity/published.h"
#include "models/text/t5_config.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

// A text encoder of two layers, as wide as the models want it.
T5Config narrow_encoder() {
  T5Config config = published_t5_config("xl");
  config.layers = 2;
  return config;
}

// The official files become a model folder and are removed.
void convert(const std::string& name, const fs::path& folder) {
  const InfinityConfig config = infinity_config(*find_published_infinity(name));
  write_random_infinity(folder / "infinity.pth", config, 1, 1);
  write_random_infinity_vae(folder / "vae.pth", config, 1);
  write_random_t5(folder / "t5", narrow_encoder(), 1, 1);
  const Result result =
      run(kTool + " convert --family infinity --transformer " + (folder / "infinity.pth").string() +
          " --vae " + (folder / "vae.pth").string() + " --text-encoder " +
          (folder / "t5").string() + " -o " + (folder / "model").string());
  ASSERT_EQ(result.code, 0) << result.output;
  fs::remove(folder / "infinity.pth");
}

class InfinityShapes : public testing::TestWithParam<const char*> {};

TEST_P(InfinityShapes, GenerateWithinThePlan) {
  const TemporaryFolder folder;
  convert(GetParam(), folder.path());
  const std::string picture = (folder.path() / "picture.png").string();
  for (const char* dtype : {"bf16", "int8"}) {
    const Result result = run("(" + kTool + " generate -m " + (folder.path() / "model").string() +
                              " -p 'a red apple' --size 0.06M --json --dtype " + dtype + " -o " +
                              picture + " 2>/dev/null)");
    ASSERT_EQ(result.code, 0) << result.output;
    const auto report = nlohmann::json::parse(result.output);
    const auto peak = report.at("peak_bytes").get<double>();
    const auto planned = report.at("planned_bytes").get<double>();
    std::printf("%s %s: peak %.3f GiB, planned %.3f GiB\n", GetParam(), dtype, peak / 0x1p30,
                planned / 0x1p30);
    EXPECT_LE(peak, 1.05 * planned);
    EXPECT_GE(peak, 0.95 * planned);
    EXPECT_EQ(read_png(picture).width, 256);
  }
}

INSTANTIATE_TEST_SUITE_P(Published, InfinityShapes, testing::Values("125m", "2b"),
                         [](const auto& model) { return "Infinity" + std::string(model.param); });

}  // namespace
}  // namespace nextscale
