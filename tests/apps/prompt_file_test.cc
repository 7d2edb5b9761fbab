// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/prompt_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <vector>

#include "nextscale/error.h"
#include "support/temporary_folder.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PromptFileTest : public testing::Test {
 protected:
  fs::path write(const std::string& text, const std::string& name = "prompts.jsonl") const {
    std::ofstream(folder_.path() / name, std::ios::binary) << text;
    return folder_.path() / name;
  }

  static std::vector<FilePrompt> read(const fs::path& path) {
    PromptFile file(path);
    std::vector<FilePrompt> prompts;
    while (std::optional<FilePrompt> each = file.next()) prompts.push_back(std::move(*each));
    return prompts;
  }

  // What check_prompts() complains of; empty if of nothing.
  static std::string complaint(const fs::path& path) {
    try {
      check_prompts(path, 1);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

  const TemporaryFolder folder_;
};

TEST_F(PromptFileTest, JsonLinesSayWhatTheyWant) {
  const auto prompts =
      read(write("{\"prompt\": \"a \\\"red\\\" apple\\n🍎\"}\n"
                 "\n"
                 "{\"prompt\": \"\", \"negative\": \"\", \"seed\": 18446744073709551615, \"n\": 2, "
                 "\"name\": \"Äpfel 2\"}\r\n"));
  ASSERT_EQ(prompts.size(), 2U);
  EXPECT_EQ(prompts[0], (FilePrompt{.line = 1, .prompt = {.text = "a \"red\" apple\n🍎"}}));
  EXPECT_EQ(prompts[0].stem(), "000001");
  EXPECT_EQ(prompts[1], (FilePrompt{.line = 3,
                                    .prompt = {.text = "", .negative = ""},
                                    .seed = 18446744073709551615U,
                                    .images = 2,
                                    .name = "Äpfel 2"}));
  EXPECT_EQ(prompts[1].stem(), "Äpfel 2");
}

TEST_F(PromptFileTest, PlainLinesArePromptsAsTheyStand) {
  const auto prompts = read(write("\xef\xbb\xbf{\"prompt\": 1}\r\n \n  two\nthree", "prompts.txt"));
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_EQ(prompts[0].prompt.text, "{\"prompt\": 1}");
  EXPECT_EQ(prompts[1], (FilePrompt{.line = 3, .prompt = {.text = "  two"}}));
  EXPECT_EQ(prompts[2].prompt.text, "three");
}

TEST_F(PromptFileTest, ComplaintsNameTheLineWhatItHasAndWhatIsWanted) {
  const auto expect = [&](const std::string& line, const std::string& part) {
    const std::string text = complaint(write("{\"prompt\": \"a\"}\n" + line + "\n"));
    EXPECT_THAT(text, HasSubstr("line 2 of ")) << line;
    EXPECT_THAT(text, HasSubstr("prompts.jsonl")) << line;
    EXPECT_THAT(text, HasSubstr(part)) << line;
  };
  expect("{\"prompt\": \"a\"", "is not valid JSON");
  expect("[1]", "got [1], wanted an object");
  expect("{}", "has no \"prompt\"");
  expect("{\"prompt\": 7}", "\"prompt\" is 7, wanted a text");
  expect("{\"prompt\": \"a\", \"negativ\": \"b\"}", "no key \"negativ\"");
  expect("{\"prompt\": \"a\", \"negativ\": \"b\"}", "did you mean negative");
  expect("{\"prompt\": \"a\", \"prompt\": \"b\"}", "twice");
  expect("{\"prompt\": \"a\", \"seed\": -1}", "\"seed\" is -1, wanted a whole number");
  expect("{\"prompt\": \"a\", \"seed\": 1.5}", "\"seed\" is 1.5");
  expect("{\"prompt\": \"a\", \"n\": 0}", "\"n\" is 0, wanted a whole number from 1");
  expect("{\"prompt\": \"a\", \"n\": 1000001}", "from 1 to 1000000");
  expect("{\"prompt\": \"a\", \"name\": 3}", "\"name\" is 3, wanted a text");
  expect("{\"prompt\": \"a\xff\"}", "byte 13 (0xff) is not UTF-8");
  expect("{\"prompt\": \"a\\u0000\"}", "\\u0000");
  expect("{\"prompt\": \"a\\ud800\"}", "is not valid JSON");
  expect("{\"prompt\": \"" + std::string(65537, 'a') + "\"}", "wanted at most 65536");
  expect(std::string(1100000, ' '), "longer than 1048576 bytes");
}

TEST_F(PromptFileTest, WhatPicturesShouldShowIsForOthers) {
  const auto prompts =
      read(write(R"({"prompt": "a dog", "kind": "single", "sprites": ["dog"], "color": "red"})"));
  ASSERT_EQ(prompts.size(), 1U);
  EXPECT_EQ(prompts[0].prompt.text, "a dog");
}

TEST_F(PromptFileTest, NamesStayInTheFolder) {
  for (const char* name :
       {"", "..", ".", ".hidden", "a/b", "/a", "..\\\\a", "a\\nb", "a\\u007fb"}) {
    const std::string text =
        complaint(write(std::string("{\"prompt\": \"a\", \"name\": \"") + name + "\"}"));
    EXPECT_THAT(text, HasSubstr("line 1 of ")) << name;
    EXPECT_THAT(text, HasSubstr("\"name\" is ")) << name;
  }
  EXPECT_THAT(complaint(write("{\"prompt\": \"a\", \"name\": \"" + std::string(201, 'a') + "\"}")),
              HasSubstr("wanted at most 200 bytes"));
}

TEST_F(PromptFileTest, NoTwoPicturesGetOneName) {
  const std::string text =
      complaint(write("{\"prompt\": \"a\", \"name\": \"x\"}\n{\"prompt\": \"b\"}\n"
                      "{\"prompt\": \"c\", \"name\": \"x\"}\n"));
  EXPECT_THAT(text, HasSubstr("line 3 of "));
  EXPECT_THAT(text, HasSubstr("like those of line 1"));
  EXPECT_THAT(complaint(write("{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"name\": \"000001\"}\n")),
              HasSubstr("like those of line 1"));
}

TEST_F(PromptFileTest, WhatIsNoSuchFileIsRefused) {
  EXPECT_THAT(complaint(folder_.path() / "absent.jsonl"), HasSubstr("absent.jsonl"));
  EXPECT_THAT(complaint(write("", "empty.jsonl")), HasSubstr("holds no prompt"));
  EXPECT_THAT(complaint(write("\n \n", "blank.txt")), HasSubstr("holds no prompt"));
  EXPECT_THAT(complaint(write("a", "prompts.csv")), HasSubstr("wanted a .jsonl"));
  fs::create_directory(folder_.path() / "folder.txt");
  EXPECT_THAT(complaint(folder_.path() / "folder.txt"), HasSubstr("no regular file"));
}

TEST_F(PromptFileTest, AHundredThousandLinesAreCounted) {
  std::string text;
  for (int line = 0; line < 100'000; ++line) {
    text += "{\"prompt\": \"prompt " + std::to_string(line) + "\"" +
            (line % 10 == 0 ? ", \"n\": 3" : "") + "}\n";
  }
  const PromptCounts counts = check_prompts(write(text), 2);
  EXPECT_EQ(counts.prompts, 100'000);
  EXPECT_EQ(counts.images, 10'000 * 3 + 90'000 * 2);
}

}  // namespace
}  // namespace nextscale::cli
