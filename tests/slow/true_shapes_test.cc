// SPDX-License-Identifier: Apache-2.0
// Every published VAR size, from files in the official naming and container to a picture, within
// the memory that the plan prints. Random weights; d30 and d36 are over 4 GiB, so their ZIP64 is
// real.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_checkpoint.h"
#include "image/png.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

struct TrueShape {
  const char* name;
  int64_t depth;
  bool shared_adaln;
  int64_t pixels;
  const char* dtype;
};

constexpr uint64_t kZip32Limit = uint64_t{4} << 30;

std::string run(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), count);
  }
  EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 0) << command;
  return output;
}

// The official files become a model folder and are removed.
void convert(const TrueShape& wanted, const fs::path& folder) {
  RandomVarShape shape;
  shape.depth = wanted.depth;
  shape.shared_adaln = wanted.shared_adaln;
  if (wanted.pixels == 512) shape.patch_nums = {1, 2, 3, 4, 6, 9, 13, 18, 24, 32};
  const VarConfig config = random_var_config(shape);
  write_random_transformer(folder / "var.pth", config, 1, Buffers::kOfficial);
  write_random_vae(folder / "vae.pth", config, 1, Buffers::kOfficial);
  const bool is_zip64 = fs::file_size(folder / "var.pth") > kZip32Limit;
  EXPECT_EQ(is_zip64, wanted.depth >= 30);
  run(std::string(NEXTSCALE_CLI) + " convert --family var --transformer " +
      (folder / "var.pth").string() + " --vae " + (folder / "vae.pth").string() + " --dtype " +
      wanted.dtype + " -o " + (folder / "model").string());
  fs::remove(folder / "var.pth");
}

class TrueShapes : public testing::TestWithParam<TrueShape> {};

TEST_P(TrueShapes, GenerateWithinThePlan) {
  const TemporaryFolder folder;
  convert(GetParam(), folder.path());
  const std::string picture = (folder.path() / "picture.png").string();
  const auto result = nlohmann::json::parse(
      run(std::string(NEXTSCALE_CLI) + " generate -m " + (folder.path() / "model").string() +
          " --class tabby --json --dtype " + GetParam().dtype + " -o " + picture));
  const auto peak = result.at("peak_bytes").get<double>();
  const auto planned = result.at("planned_bytes").get<double>();
  std::printf("%s: peak %.3f GiB, planned %.3f GiB, load %.2f s, scales %.2f s, all %.2f s\n",
              GetParam().name, peak / 0x1p30, planned / 0x1p30,
              result.at("load_seconds").get<double>(), result.at("scale_seconds").get<double>(),
              result.at("seconds").get<double>());
  EXPECT_LE(peak, 1.05 * planned);
  const Image image = read_png(picture);
  EXPECT_EQ(image.width, GetParam().pixels);
  EXPECT_EQ(image.height, GetParam().pixels);
}

INSTANTIATE_TEST_SUITE_P(Published, TrueShapes,
                         testing::Values(TrueShape{"d16_f32", 16, false, 256, "f32"},
                                         TrueShape{"d16_bf16", 16, false, 256, "bf16"},
                                         TrueShape{"d16_int8", 16, false, 256, "int8"},
                                         TrueShape{"d20_bf16", 20, false, 256, "bf16"},
                                         TrueShape{"d24_bf16", 24, false, 256, "bf16"},
                                         TrueShape{"d30_f32", 30, false, 256, "f32"},
                                         TrueShape{"d30_bf16", 30, false, 256, "bf16"},
                                         TrueShape{"d36_512px_bf16", 36, true, 512, "bf16"}),
                         [](const auto& shape) { return std::string(shape.param.name); });

// Of the process, in MiB.
struct PeakMemory {
  double measured = 0;
  double planned = 0;
};

PeakMemory peak_memory(const fs::path& folder, const std::string& options) {
  const auto result = nlohmann::json::parse(
      run(std::string(NEXTSCALE_CLI) + " generate -m " + (folder / "model").string() +
          " --class tabby -n 8 --batch 8 --dtype f32 --json " + options + " -o " +
          (folder / "pictures").string() + "/"));
  const PeakMemory memory{.measured = result.at("peak_bytes").get<double>() / 0x1p20,
                          .planned = result.at("planned_bytes").get<double>() / 0x1p20};
  std::printf("d16, batch 8, %s: peak %.1f MiB, planned %.1f MiB\n", options.c_str(),
              memory.measured, memory.planned);
  return memory;
}

void expect_saved_as_planned(const PeakMemory& large, const PeakMemory& small) {
  const double planned = large.planned - small.planned;
  const double measured = large.measured - small.measured;
  std::printf("saved: %.1f MiB, planned %.1f MiB\n", measured, planned);
  EXPECT_NEAR(measured, planned, 0.05 * planned);
}

TEST(PeakMemory, FallsByWhatThePlanSays) {
  const TemporaryFolder folder;
  convert({"d16", 16, false, 256, "f32"}, folder.path());
  const PeakMemory full = peak_memory(folder.path(), "--kv full --kv-dtype f32");
  const PeakMemory full_int8 = peak_memory(folder.path(), "--kv full --kv-dtype int8");
  expect_saved_as_planned(full, full_int8);
  for (const std::string policy : {"streaming:budget=30%", "snapkv:budget=10%"}) {
    expect_saved_as_planned(full, peak_memory(folder.path(), "--kv " + policy + " --kv-dtype f32"));
    expect_saved_as_planned(full_int8,
                            peak_memory(folder.path(), "--kv " + policy + " --kv-dtype int8"));
  }
}

}  // namespace
}  // namespace nextscale
