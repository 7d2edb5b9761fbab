// SPDX-License-Identifier: Apache-2.0
// Text encoders: tokenizer, buckets of distances and features against the official ones.
#include "golden/infinity_text.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "golden/golden_case.h"
#include "models/text/convert_t5.h"
#include "models/text/t5_encoder.h"
#include "support/temporary_folder.h"
#include "text/t5_tokenizer.h"
#include "weights/json_text.h"

namespace nextscale::golden {
namespace {

using Ids = std::vector<int32_t>;

constexpr double kF32Tolerance = 2e-5;  // golden/infinity/README.md
constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr std::array<const char*, 3> kTexts{"short_padded", "long", "prompt"};

// The ids that the mask leaves.
Ids ids_of(const SafetensorsFile& expected, const std::string& text) {
  const auto* ids = expected.view(text + ".input_ids").as<int32_t>();
  const ConstTensorView mask = expected.view(text + ".attention_mask");
  Ids result;
  for (int64_t at = 0; at < mask.shape.num_elements(); ++at) {
    if (mask.as<int32_t>()[at] != 0) result.push_back(ids[at]);
  }
  return result;
}

SafetensorsFile expected_of(const GoldenCase& golden) {
  return SafetensorsFile(golden.folder / "expected.safetensors");
}

nlohmann::json json_of(const GoldenCase& golden, const std::string& name) {
  return parse_json(read_text_file(golden.folder / name, kMaxBytes), name);
}

}  // namespace

bool is_text_case(const GoldenCase& golden) {
  return golden.config.value("model_type", "") == "t5";
}

void check_text_ids(const GoldenCase& golden) {
  const T5Tokenizer tokenizer(golden.folder / "spiece.model");
  for (const auto& each : json_of(golden, "tokenization.json").at("cases")) {
    const auto text = each.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text).ids, each.at("ids").get<Ids>()) << text;
  }
  const auto prompt = json_of(golden, "case.json").at("prompt_text").get<std::string>();
  EXPECT_EQ(tokenizer.encode(prompt).ids, ids_of(expected_of(golden), "prompt"));
}

void check_text_buckets(const GoldenCase& golden) {
  const T5Config config = parse_t5_config(golden.config);
  const SafetensorsFile expected = expected_of(golden);
  const ConstTensorView distances = expected.view("relative_bucket.distance");
  const auto* buckets = expected.view("relative_bucket.bucket").as<int32_t>();
  for (int64_t at = 0; at < distances.shape.num_elements(); ++at) {
    const int32_t distance = distances.as<int32_t>()[at];
    EXPECT_EQ(t5_bucket(config, distance), buckets[at]) << distance;
  }
}

void check_text_features(const GoldenCase& golden, const kernels::KernelTable& kernels) {
  const TemporaryFolder folder;
  const T5Source source = open_t5(golden.folder);
  const std::vector<FolderFile> files{t5_weights(source, DType::kF32), t5_tokenizer(source)};
  write_model_folder({.transformer = {}, .vae = {}, .output = folder.path() / "model"},
                     nlohmann::json::object(), files, {});
  const SafetensorsFile expected = expected_of(golden);
  std::vector<Ids> prompts;
  for (const char* text : kTexts) prompts.push_back(ids_of(expected, text));
  const T5Encoder encoder(source.config, folder.path() / "model" / kTextEncoderName, DType::kF32);
  const Context context{.num_threads = 2, .kernels = &kernels};
  const std::vector<Tensor> features = encoder.encode(context, prompts);
  for (size_t at = 0; at < prompts.size(); ++at) {
    const std::string name = std::string(kTexts[at]) + ".last_hidden_state";
    std::vector<float> wanted = expected_values(expected, name);
    const auto elements = static_cast<size_t>(features[at].shape().num_elements());
    ASSERT_GE(wanted.size(), elements);
    wanted.resize(elements);  // what follows belongs to padding
    expect_close(name, {features[at].as<float>(), elements}, wanted, kF32Tolerance);
  }
}

}  // namespace nextscale::golden
