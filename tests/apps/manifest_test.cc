// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "apps/cli/pending_pictures.h"
#include "nextscale/error.h"
#include "support/temporary_folder.h"

namespace nextscale::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const json kSettings{{"model_id", "abc"}, {"cfg", 4.0}, {"top_p", 0.97}};

PictureKey key(int64_t line, int64_t image = 0) {
  return {.file = "p" + std::to_string(line) + "_" + std::to_string(image) + ".png",
          .prompt = {.text = "prompt \"" + std::to_string(line) + "\"\n🍎"},
          .seed = 18446744073709551615U,
          .image = image};
}

template <typename Action>
std::string complaint(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

class ManifestTest : public testing::Test {
 protected:
  // As a run does: first the picture, then the line.
  void make(Manifest& manifest, const PictureKey& picture) const {
    std::ofstream(folder_.path() / picture.file) << "picture";
    manifest.add(picture, {.width = 64, .height = 32, .kv_bytes = 7});
  }

  std::string text() const {
    std::ifstream file(path());
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path path() const { return folder_.path() / kManifestName; }

  const TemporaryFolder folder_;
};

TEST_F(ManifestTest, RemembersWhatWasMade) {
  {
    Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
    EXPECT_FALSE(manifest.has(key(1)));
    make(manifest, key(1));
    EXPECT_TRUE(manifest.has(key(1)));
  }
  const json line = json::parse(text());
  EXPECT_EQ(line.at("file"), "p1_0.png");
  EXPECT_EQ(line.at("prompt"), key(1).prompt.text);
  EXPECT_EQ(line.at("negative"), nullptr);
  EXPECT_EQ(line.at("seed"), 18446744073709551615U);
  EXPECT_EQ(line.at("image"), 0);
  EXPECT_EQ(line.at("width"), 64);
  EXPECT_EQ(line.at("height"), 32);
  EXPECT_EQ(line.at("kv_bytes"), 7);
  EXPECT_EQ(line.at("settings"), kSettings);
  const Manifest again(folder_.path(), kSettings, OtherPictures::kRefuse);
  EXPECT_TRUE(again.has(key(1)));
  EXPECT_FALSE(again.has(key(2)));
}

TEST_F(ManifestTest, APictureThatWasRemovedIsNotDone) {
  Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
  make(manifest, key(1));
  fs::remove(folder_.path() / key(1).file);
  EXPECT_FALSE(manifest.has(key(1)));
}

// Wherever a killed run stopped writing, the lines before count and the next run goes on.
TEST_F(ManifestTest, ALineThatWasCutIsWrittenAnew) {
  {
    Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
    make(manifest, key(1));
    make(manifest, key(2));
  }
  const std::string whole = text();
  const size_t first = whole.find('\n') + 1;
  for (size_t cut = first; cut < whole.size(); ++cut) {
    std::ofstream(path(), std::ios::trunc) << whole.substr(0, cut);
    Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
    ASSERT_TRUE(manifest.has(key(1))) << cut;
    ASSERT_FALSE(manifest.has(key(2))) << cut;
    make(manifest, key(2));
    ASSERT_EQ(text(), whole) << cut;
  }
}

TEST_F(ManifestTest, OtherSettingsAreRefusedSayingWhich) {
  {
    Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
    make(manifest, key(1));
  }
  json other = kSettings;
  other["cfg"] = 3.0;
  const std::string said =
      complaint([&] { Manifest(folder_.path(), other, OtherPictures::kRefuse); });
  EXPECT_THAT(said, HasSubstr("cfg: 4.0 there, 3.0 now"));
  EXPECT_THAT(said, HasSubstr("--force"));
  Manifest forced(folder_.path(), other, OtherPictures::kMakeAgain);
  EXPECT_FALSE(forced.has(key(1)));
  make(forced, key(1));
  EXPECT_TRUE(forced.has(key(1)));
}

TEST_F(ManifestTest, AnotherPictureOfThatNameIsRefusedSayingWhatDiffers) {
  Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
  make(manifest, key(1));
  make(manifest, key(2));
  PictureKey other = key(2);
  other.seed = 5;
  EXPECT_THAT(complaint([&] { manifest.has(other); }),
              HasSubstr("seed: 18446744073709551615 there, 5 now"));
  other = key(2);
  other.prompt.negative = "";
  EXPECT_THAT(complaint([&] { manifest.has(other); }), HasSubstr("negative: null there, \"\" now"));
}

TEST_F(ManifestTest, OneRunAtATimeWritesToAFolder) {
  const Manifest first(folder_.path(), kSettings, OtherPictures::kRefuse);
  EXPECT_THAT(complaint([&] { Manifest(folder_.path(), kSettings, OtherPictures::kRefuse); }),
              HasSubstr("another run writes to"));
}

TEST_F(ManifestTest, AFileOfSomethingElseIsLeftAlone) {
  for (const char* foreign : {"hello\n", "{}\n", "{\"file\": 3, \"settings\": {}}\n", "[]\n"}) {
    std::ofstream(path(), std::ios::trunc) << foreign;
    EXPECT_THAT(complaint([&] { Manifest(folder_.path(), kSettings, OtherPictures::kRefuse); }),
                HasSubstr("line 1 of "));
    EXPECT_EQ(text(), foreign);
  }
}

class PendingTest : public ManifestTest {
 protected:
  PendingPictures pending(const Manifest& manifest) const {
    return {prompts(), {.negative = "fog", .seed = 9, .images_each = 2}, manifest};
  }
  fs::path prompts() const { return folder_.path() / "prompts.jsonl"; }
};

TEST_F(PendingTest, GroupsAgreeInSeedAndNumbers) {
  std::ofstream(prompts()) << "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"negative\": \"rain\"}\n"
                              "{\"prompt\": \"c\", \"seed\": 1}\n"
                              "{\"prompt\": \"d\", \"seed\": 1, \"n\": 1, \"name\": \"dd\"}\n";
  const Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
  EXPECT_EQ(count_pending(pending(manifest)), 7);
  PendingPictures rest = pending(manifest);
  const auto first = rest.next_group();
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].source.prompt, (Prompt{.text = "a", .negative = "fog"}));
  EXPECT_EQ(first[1].source.prompt.negative, "rain");
  EXPECT_EQ(first[1].key(1).file, "000002_001.png");
  EXPECT_EQ(first[1].key(1).seed, 9U);
  EXPECT_EQ(rest.next_group().size(), 1U);
  const auto last = rest.next_group();
  ASSERT_EQ(last.size(), 1U);
  EXPECT_EQ(last[0].images, 1);
  EXPECT_EQ(last[0].key(0).file, "dd_000.png");
  EXPECT_TRUE(rest.next_group().empty());
}

TEST_F(PendingTest, WhatIsDoneIsLeftOut) {
  std::ofstream(prompts()) << "{\"prompt\": \"a\", \"n\": 5}\n{\"prompt\": \"b\"}\n";
  Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
  PendingPictures all = pending(manifest);
  const PictureRun a = all.next_group().front();
  make(manifest, a.key(0));
  make(manifest, a.key(2));
  EXPECT_EQ(count_pending(pending(manifest)), 5);
  PendingPictures rest = pending(manifest);
  const auto hole = rest.next_group();
  ASSERT_EQ(hole.size(), 1U);
  EXPECT_EQ(hole[0].first_image, 1);
  EXPECT_EQ(hole[0].images, 1);
  const auto tail = rest.next_group();
  ASSERT_EQ(tail.size(), 1U);
  EXPECT_EQ(tail[0].first_image, 3);
  EXPECT_EQ(tail[0].images, 2);
  EXPECT_EQ(rest.next_group()[0].source.prompt.text, "b");
}

TEST_F(PendingTest, AHundredThousandPicturesResume) {
  std::ofstream lines(prompts());
  for (int line = 0; line < 100'000; ++line) lines << "{\"prompt\": \"" << line << "\"}\n";
  lines.close();
  const Manifest manifest(folder_.path(), kSettings, OtherPictures::kRefuse);
  PendingPictures rest = pending(manifest);
  size_t groups = 0;
  size_t largest = 0;
  for (auto group = rest.next_group(); !group.empty(); group = rest.next_group()) {
    ++groups;
    largest = std::max(largest, group.size());
  }
  EXPECT_EQ(largest, 64U);
  EXPECT_EQ(groups, 1563U);
}

}  // namespace
}  // namespace nextscale::cli
