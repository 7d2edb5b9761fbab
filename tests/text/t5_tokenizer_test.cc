// SPDX-License-Identifier: Apache-2.0
#include "text/t5_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "core/rng.h"
#include "nextscale/error.h"
#include "weights/json_text.h"

namespace nextscale {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr size_t kMaxBytes = size_t{1} << 20;

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(NEXTSCALE_TEST_DATA) / name;
}

std::string model_bytes() {
  return read_text_file(data("infinity/t5_tiny/spiece.model"), kMaxBytes);
}

const T5Tokenizer& tokenizer() {
  static const T5Tokenizer kTokenizer(data("infinity/t5_tiny/spiece.model"));
  return kTokenizer;
}

nlohmann::json cases_of(const std::string& file) {
  return parse_json(read_text_file(data(file), kMaxBytes), file).at("cases");
}

std::string message_of(const auto& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(T5Tokenizer, GivesTheIdsOfSentencePiece) {
  for (const auto& each : cases_of("infinity/t5_tiny/tokenization.json")) {
    const auto text = each.at("text").get<std::string>();
    EXPECT_EQ(tokenizer().encode(text).ids, each.at("ids").get<Ids>()) << text;
    EXPECT_EQ(tokenizer().encode(text, 16).ids, each.at("ids_max_length_16").get<Ids>()) << text;
  }
}

TEST(T5Tokenizer, GivesTheIdsOfTheFastTokenizer) {
  for (const auto& each : cases_of("text/fast_tokenizer.json")) {
    const auto text = each.at("text").get<std::string>();
    EXPECT_EQ(tokenizer().encode(text).ids, each.at("ids").get<Ids>()) << text;
  }
}

TEST(T5Tokenizer, ReadsSpecialTokensInTheText) {
  // 232 pieces and 100 extra ids, which are numbered downwards.
  EXPECT_EQ(tokenizer().vocabulary(), 332);
  EXPECT_THAT(tokenizer().encode("<extra_id_0></s><pad><extra_id_99><unk>").ids,
              ElementsAre(331, 1, 0, 232, 2, 1));
}

TEST(T5Tokenizer, AnEmptyPromptIsTheClosingToken) {
  EXPECT_THAT(tokenizer().encode("").ids, ElementsAre(1));
  EXPECT_THAT(tokenizer().encode(" \n\t ").ids, ElementsAre(1));
}

TEST(T5Tokenizer, CutsLongPromptsAndSaysSo) {
  std::string prompt;
  while (prompt.size() < 5000) prompt += "a cat ";
  const T5Tokens tokens = tokenizer().encode(prompt);
  ASSERT_EQ(tokens.ids.size(), 512U);
  EXPECT_EQ(tokens.ids.back(), 1);
  EXPECT_EQ(tokens.num_dropped, 834 * 3 + 1 - 512);
  EXPECT_THAT(tokens.note(), HasSubstr("has 2503 tokens, the text encoder reads 512"));
  EXPECT_EQ(tokenizer().encode("a cat").note(), "");
}

TEST(T5Tokenizer, RefusesInvalidUtf8AndSaysWhere) {
  const auto encode = [] { tokenizer().encode("a cat \xff in the rain"); };
  EXPECT_THAT(message_of(encode), HasSubstr("byte 6 (0xff) is not UTF-8, after 'a cat '"));
}

TEST(T5Tokenizer, RefusesTextsThatAreNoPrompts) {
  const auto encode = [] { tokenizer().encode(std::string(size_t{2} << 20, 'a')); };
  EXPECT_THAT(message_of(encode), HasSubstr("wanted at most 1.0 MiB"));
}

TEST(T5Tokenizer, RefusesFilesThatAreNoModels) {
  EXPECT_THAT(message_of([] { T5Tokenizer("", "x"); }), HasSubstr("x is no sentencepiece model"));
  EXPECT_THAT(message_of([] { T5Tokenizer("not a model", "x"); }),
              HasSubstr("x is no sentencepiece model"));
  EXPECT_THAT(message_of([] { T5Tokenizer(std::filesystem::path("/absent/spiece.model")); }),
              HasSubstr("absent"));
}

TEST(T5Tokenizer, RefusesACharacterMapThatLeadsOutside) {
  // The trie starts right behind the map's length; its root says where the children lie.
  std::string bytes = model_bytes();
  const std::string name = "nmt_nfkc";
  const size_t map = bytes.find(name) + name.size() + 1 + 3 + sizeof(uint32_t);
  bytes.replace(map, 4, "\xff\xff\xff\x7f");
  EXPECT_THAT(message_of([&] { T5Tokenizer(bytes, "x"); }), HasSubstr("lead outside"));
}

TEST(T5Tokenizer, NoDamageDoesWorseThanThrow) {
  const std::string sound = model_bytes();
  for (uint32_t image = 0; image < 300; ++image) {
    std::string bytes = sound;
    const auto place = [&](uint32_t draw) {
      const float part = uniform({.seed = 4, .image = image}, draw);
      return static_cast<size_t>(part * static_cast<float>(bytes.size() - 1));
    };
    if (image % 3 == 0) bytes.resize(place(0));
    for (uint32_t draw = 0; image % 3 == 1 && draw < 4; ++draw) bytes[place(draw)] ^= 0x11;
    for (uint32_t offset = 0; image % 3 == 2 && offset < 2048; ++offset) {
      bytes[std::min(place(0) + offset, bytes.size() - 1)] = static_cast<char>(place(offset));
    }
    try {
      T5Tokenizer(bytes, "x")
          .encode("a \xef\xac\x81lm \xc2\xbd \xe2\x91\xa0 caf\xc3\xa9 \xe7\x8c\xab");
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal);
    }
  }
}

}  // namespace
}  // namespace nextscale
