// SPDX-License-Identifier: Apache-2.0
#include "models/text/t5_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "nextscale/error.h"
#include "weights/json_text.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

constexpr size_t kMaxBytes = size_t{1} << 20;

nlohmann::json tiny_config() {
  const auto path = std::filesystem::path(NEXTSCALE_TEST_DATA) / "infinity/t5_tiny/config.json";
  return parse_json(read_text_file(path, kMaxBytes), "config.json");
}

std::string error_of(const nlohmann::json& config) {
  try {
    parse_t5_config(config);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(T5Config, ReadsWhatHuggingFaceWrites) {
  const T5Config config = parse_t5_config(tiny_config());
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.width, 64);
  EXPECT_EQ(config.heads, 6);
  EXPECT_EQ(config.inner(), 48);
  EXPECT_EQ(config.ffn_width, 160);
  EXPECT_EQ(config.vocab, 320);
}

TEST(T5Config, SurvivesTheWayThroughAModelFolder) {
  const T5Config config = parse_t5_config(tiny_config());
  EXPECT_EQ(to_json(parse_t5_config(to_json(config))), to_json(config));
}

TEST(T5Config, KnowsConfigsWithoutALargestDistance) {
  nlohmann::json config = tiny_config();
  config.erase("relative_attention_max_distance");
  EXPECT_EQ(parse_t5_config(config).max_distance, 128);
}

TEST(T5Config, RefusesOtherNetworks) {
  nlohmann::json config = tiny_config();
  config["model_type"] = "bert";
  EXPECT_THAT(error_of(config), HasSubstr("'model_type'"));
  config = tiny_config();
  config["feed_forward_proj"] = "relu";
  EXPECT_THAT(error_of(config), HasSubstr("version 1.1"));
  EXPECT_THAT(error_of(nlohmann::json::array()), HasSubstr("T5"));
}

TEST(T5Config, NamesTheValueThatIsWrong) {
  for (const char* key : {"num_layers", "d_model", "num_heads", "d_kv", "d_ff", "vocab_size"}) {
    nlohmann::json config = tiny_config();
    config[key] = -1;
    EXPECT_THAT(error_of(config), HasSubstr(key));
    config.erase(key);
    EXPECT_THAT(error_of(config), HasSubstr(key));
  }
}

}  // namespace
}  // namespace nextscale
