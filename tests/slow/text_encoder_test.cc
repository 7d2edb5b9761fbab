// SPDX-License-Identifier: Apache-2.0
// The text encoder of Infinity, Flan-T5-XL, in its true shape: official shards to a model folder,
// prompts to features, memory as planned and none of it left. Random weights.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/random_checkpoint/random_t5.h"
#include "core/memory_info.h"
#include "models/text/convert_t5.h"
#include "models/text/prompt_encoder.h"
#include "support/peak_memory.h"
#include "support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

ModelFolder convert(const fs::path& source, const fs::path& output, DType dtype) {
  const T5Source t5 = open_t5(source);
  const std::vector<FolderFile> files{t5_weights(t5, dtype), t5_tokenizer(t5)};
  write_model_folder({.transformer = {}, .vae = {}, .output = output}, nlohmann::json::object(),
                     files, {});
  ModelFolder folder;
  folder.path = output;
  folder.config = {{"text_encoder", to_json(t5.config)}};
  folder.files = {{std::string(kTextEncoderName), 0, "checksum"}};
  return folder;
}

void encode_within_plan(const ModelFolder& folder, DType compute) {
  const std::vector<std::string> prompts{
      "a photo of a red lantern in the rain, reflected in the wet stones of a narrow street"};
  const Context context{.num_threads = 2, .kernels = &kernels::cpu_table()};
  const PromptEncoder encoder(folder, {.compute = compute});
  encoder.encode(context, prompts);  // what the libraries take once
  const size_t planned = encoder.memory(context, encoder.lengths(prompts)).peak();
  const size_t before = resident_bytes();
  reset_peak_memory();
  const auto start = std::chrono::steady_clock::now();
  const EncodedPrompts encoded = encoder.encode(context, prompts);
  const double seconds = seconds_since(start);
  const size_t peak = peak_resident_bytes();
  const size_t after = resident_bytes();
  std::printf("products in %s: %.2f s, peak %.1f MiB, planned %.1f MiB, left %.1f MiB\n",
              std::string(dtype_name(compute)).c_str(), seconds,
              static_cast<double>(peak - before) / 0x1p20, static_cast<double>(planned) / 0x1p20,
              (static_cast<double>(after) - static_cast<double>(before)) / 0x1p20);
  // The program's own memory counts, as in the plan of a run.
  EXPECT_LE(static_cast<double>(peak), 1.05 * static_cast<double>(before + planned));
  EXPECT_GE(static_cast<double>(peak), 0.95 * static_cast<double>(before + planned));
  constexpr size_t kLeft = size_t{8} << 20;
  EXPECT_LE(after, before + encoded.features[0].num_bytes() + kLeft);
}

class TextEncoderXl : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    write_random_t5(folder_->path() / "t5", published_t5_config("xl"), 1, 2);
  }
  static void TearDownTestSuite() { delete folder_; }

  void check(DType stored, DType compute) {
    reset_peak_memory();
    const size_t before = resident_bytes();
    const auto start = std::chrono::steady_clock::now();
    const ModelFolder model = convert(folder_->path() / "t5", folder_->path() / "model", stored);
    std::printf("converting to %s: %.1f s, %.2f GiB, peak %.1f MiB\n",
                std::string(dtype_name(stored)).c_str(), seconds_since(start),
                static_cast<double>(fs::file_size(model.path / kTextEncoderName)) / 0x1p30,
                static_cast<double>(peak_resident_bytes() - before) / 0x1p20);
    encode_within_plan(model, compute);
    fs::remove_all(model.path);
  }

  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(TextEncoderXl, Bf16) { check(DType::kBF16, DType::kBF16); }
TEST_F(TextEncoderXl, F32) { check(DType::kF32, DType::kF32); }
TEST_F(TextEncoderXl, Int8) { check(DType::kI8, DType::kBF16); }

}  // namespace
}  // namespace nextscale
