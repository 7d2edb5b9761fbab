// SPDX-License-Identifier: Apache-2.0
#include "image/png.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "nextscale/error.h"
#include "tests/image/png_builder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::SizeIs;

Image gradient(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t value = 0; value < width * height * 3; ++value) {
    image.rgb.push_back(static_cast<uint8_t>(value * 7 % 251));
  }
  return image;
}

std::string as_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(EncodePng, PixelsComeBackExactly) {
  for (const int64_t side : {1, 2, 7, 64, 257}) {
    const Image image = gradient(side, side + 1);
    EXPECT_EQ(decode_png(encode_png(image), "picture.png"), image) << side;
  }
}

TEST(EncodePng, TextsComeBackInOrder) {
  const std::vector<ImageText> texts{
      {"parameters", "tabby, grün, 猫\nSeed: 1"}, {"nextscale", R"({"seed": 1})"}, {"empty", ""}};
  const PngInfo info = read_png_info(encode_png(gradient(3, 2), texts), "picture.png");
  EXPECT_EQ(info.width, 3);
  EXPECT_EQ(info.height, 2);
  EXPECT_EQ(info.bit_depth, 8);
  EXPECT_EQ(info.texts, texts);
}

TEST(EncodePng, TextsStandBeforeThePixels) {
  const ImageText text{"parameters", "tabby"};
  const std::string file = as_string(encode_png(gradient(3, 2), {&text, 1}));
  EXPECT_LT(file.find("iTXt"), file.find("IDAT"));
}

TEST(EncodePng, EqualPicturesGiveEqualBytes) {
  const ImageText text{"parameters", "tabby"};
  EXPECT_EQ(encode_png(gradient(33, 20), {&text, 1}), encode_png(gradient(33, 20), {&text, 1}));
}

TEST(EncodePng, StoresNoTime) {
  EXPECT_EQ(as_string(encode_png(gradient(3, 2))).find("tIME"), std::string::npos);
}

TEST(EncodePng, PictureWhoseSizeDoesNotFitItsPixelsIsRefused) {
  for (const Image& image : {Image{}, Image{2, 2, {1, 2, 3}}, Image{-1, -1, {1, 2, 3}},
                             Image{int64_t{1} << 40, int64_t{1} << 40, {}}}) {
    EXPECT_EQ(code_of([&] { encode_png(image); }), ErrorCode::kUsage);
  }
}

TEST(EncodePng, TextThatPngCannotHoldIsRefused) {
  const std::vector<ImageText> refused{{"", "no name"},
                                       {" padded", "x"},
                                       {std::string(80, 'k'), "long name"},
                                       {"grün", "not ASCII"},
                                       {"nul", std::string("a\0b", 3)},
                                       {"long", std::string(kMaxPngTextBytes + 1, 'x')}};
  for (const ImageText& text : refused) {
    EXPECT_EQ(code_of([&] {
                encode_png(gradient(1, 1), {&text, 1});
              }),
              ErrorCode::kUsage)
        << text.key;
  }
  const std::vector<ImageText> many(kMaxPngTexts + 1, ImageText{"key", "value"});
  EXPECT_EQ(code_of([&] { encode_png(gradient(1, 1), many); }), ErrorCode::kUsage);
}

TEST(ReadPngInfo, ReadsAllThreeKindsOfText) {
  const std::string separator(1, '\0');
  const std::string international = "c" + separator + "\1" + separator + "en" + separator + "word" +
                                    separator + zlib_packed("grün");
  const PngBuilder file = one_pixel()
                              .chunk("tEXt", "a" + separator + "caf\xe9")
                              .chunk("zTXt", "b" + separator + separator + zlib_packed("caf\xe9"))
                              .chunk("iTXt", international)
                              .end();
  EXPECT_THAT(read_png_info(file.bytes(), "texts.png").texts,
              ElementsAre(ImageText{"a", "café"}, ImageText{"b", "café"}, ImageText{"c", "grün"}));
}

TEST(ReadPngInfo, IgnoresUnknownChunksAndWhatFollowsTheEnd) {
  const PngBuilder file = one_pixel().chunk("abCd", "private").end().raw("trailing bytes");
  EXPECT_THAT(read_png_info(file.bytes(), "odd.png").texts, SizeIs(0));
}

TEST(FindText, GivesTheFirstOfAName) {
  const std::vector<ImageText> texts{{"a", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(find_text(texts, "a"), "1");
  EXPECT_EQ(find_text(texts, "c"), std::nullopt);
}

TEST(DecodePng, ExpandsGrey) {
  const auto file = PngBuilder().signature().header(2, 1, 0).pixels(std::string("\0\x05\xf0", 3));
  EXPECT_THAT(decode_png(PngBuilder(file).end().bytes(), "grey.png").rgb,
              ElementsAre(5, 5, 5, 0xf0, 0xf0, 0xf0));
}

TEST(DecodePng, ExpandsAPalette) {
  const PngBuilder file = PngBuilder()
                              .signature()
                              .header(2, 1, 3)
                              .chunk("PLTE", std::string("\1\2\3\4\5\6", 6))
                              .pixels(std::string("\0\1\0", 3))
                              .end();
  EXPECT_THAT(decode_png(file.bytes(), "palette.png").rgb, ElementsAre(4, 5, 6, 1, 2, 3));
}

TEST(DecodePng, DropsAlphaWithoutBlending) {
  const PngBuilder file =
      PngBuilder().signature().header(1, 1, 6).pixels(std::string("\0\1\2\3\0", 5)).end();
  EXPECT_THAT(decode_png(file.bytes(), "alpha.png").rgb, ElementsAre(1, 2, 3));
}

TEST(DecodePng, CutsSixteenBitsToEight) {
  const PngBuilder file = PngBuilder()
                              .signature()
                              .header(1, 1, 2, 16)
                              .pixels(std::string("\0\x10\x10\x20\x20\xff\xff", 7))
                              .end();
  EXPECT_THAT(decode_png(file.bytes(), "deep.png").rgb, ElementsAre(0x10, 0x20, 0xff));
}

class PngFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              (std::string("png.") + info->name() + "." + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(PngFileTest, WrittenFileReadsBack) {
  const ImageText text{"parameters", "tabby"};
  write_png(folder_ / "a.png", gradient(5, 4), {&text, 1});
  EXPECT_EQ(read_png(folder_ / "a.png"), gradient(5, 4));
  EXPECT_THAT(read_png_texts(folder_ / "a.png"), ElementsAre(text));
}

TEST_F(PngFileTest, WritingReplacesAndLeavesNothingElse) {
  write_png(folder_ / "a.png", gradient(5, 4));
  write_png(folder_ / "a.png", gradient(2, 2));
  EXPECT_EQ(read_png(folder_ / "a.png"), gradient(2, 2));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(PngFileTest, FolderThatIsMissingIsAnIoError) {
  EXPECT_EQ(code_of([&] { write_png(folder_ / "none" / "a.png", gradient(1, 1)); }),
            ErrorCode::kIo);
}

TEST_F(PngFileTest, FileThatIsMissingIsNotFound) {
  EXPECT_EQ(code_of([&] { read_png_info(folder_ / "none.png"); }), ErrorCode::kNotFound);
}

TEST_F(PngFileTest, FolderOrDeviceIsNotReadAsAFile) {
  EXPECT_EQ(code_of([&] { read_png(folder_); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([&] { read_png("/dev/zero"); }), ErrorCode::kIo);
}

TEST_F(PngFileTest, GiantSparseFileIsRefusedUnread) {
  std::ofstream(folder_ / "giant.png") << "x";
  fs::resize_file(folder_ / "giant.png", kMaxPngFileBytes + 1);
  EXPECT_EQ(code_of([&] { read_png(folder_ / "giant.png"); }), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace nextscale
