// SPDX-License-Identifier: Apache-2.0
// Files that are broken or built to do harm: each gets one clear error and little memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "image/png.h"
#include "nextscale/error.h"
#include "tests/image/png_builder.h"

namespace nextscale {
namespace {

using testing::HasSubstr;

struct HostileFile {
  const char* name;
  std::function<PngBuilder()> build;
  const char* message;  // part of what the error says
};

// Prints the name in test listings.
void PrintTo(const HostileFile& file, std::ostream* out) { *out << file.name; }

std::string nul_terminated(std::string_view text) { return std::string(text) + '\0'; }

// 64 MiB of one letter: 65 KB packed.
std::string text_bomb() { return zlib_packed(std::string(size_t{64} << 20, 'x')); }

PngBuilder cut(const PngBuilder& file, size_t missing_bytes) {
  const auto bytes = file.bytes();
  return PngBuilder().raw(
      {reinterpret_cast<const char*>(bytes.data()), bytes.size() - missing_bytes});
}

PngBuilder with_text(std::string_view type, const std::string& data) {
  return one_pixel().chunk(type, data).end();
}

PngBuilder with_many_texts(size_t count, size_t bytes_each) {
  PngBuilder file = one_pixel();
  for (size_t index = 0; index < count; ++index) {
    file.chunk("tEXt", nul_terminated("key") + std::string(bytes_each, 'x'));
  }
  return file.end();
}

class HostilePng : public testing::TestWithParam<HostileFile> {};

TEST_P(HostilePng, IsABadFileWithAClearMessage) {
  const PngBuilder file = GetParam().build();
  try {
    read_png_info(file.bytes(), "hostile.png");
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr("hostile.png"));
    EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  }
}

TEST_P(HostilePng, IsRefusedBeforePixelsAreDecoded) {
  EXPECT_THROW(decode_png(GetParam().build().bytes(), "hostile.png"), Error);
}

const HostileFile kHostileFiles[] = {
    {"Empty", [] { return PngBuilder(); }, "does not begin as a PNG"},
    {"Jpeg", [] { return PngBuilder().raw("\xff\xd8\xff\xe0 some other file"); },
     "does not begin as a PNG"},
    {"SignatureOnly", [] { return PngBuilder().signature(); }, "ends inside the length"},
    {"NoHeader", [] { return PngBuilder().signature().pixels("x").end(); }, "IHDR first"},
    {"EndOnly", [] { return PngBuilder().signature().end(); }, "IHDR first"},
    {"TwoHeaders", [] { return PngBuilder().signature().header(1, 1).header(1, 1).end(); },
     "IHDR first and once"},
    {"ShortHeader", [] { return PngBuilder().signature().chunk("IHDR", "12345678").end(); },
     "IHDR chunk of 8 bytes"},
    {"ZeroWidth", [] { return PngBuilder().signature().header(0, 1).end(); }, "claims 0x1"},
    {"GiantWidth", [] { return PngBuilder().signature().header(0x80000000U, 1).end(); },
     "claims 2147483648x1"},
    {"GiantHeight", [] { return PngBuilder().signature().header(1, 0xffffffffU).end(); },
     "claims 1x4294967295"},
    {"NoEnd", [] { return one_pixel(); }, "ends inside the length"},
    {"CutInLastChecksum", [] { return cut(one_pixel().end(), 1); }, "ends inside IEND"},
    {"CutInPixels", [] { return cut(one_pixel(), 6); }, "ends inside IDAT"},
    {"WrongChecksum", [] { return one_pixel().raw(be32(0)).raw("IEND").raw(be32(0x12345678)); },
     "wrong checksum in its IEND"},
    {"ChunkLongerThanFile", [] { return one_pixel().raw(be32(0x7fffffff)).raw("tEXt").raw("key"); },
     "ends inside tEXt"},
    {"ChunkLengthOverflow", [] { return one_pixel().raw(be32(0xffffffff)).raw("tEXt"); },
     "a chunk of 4294967295 bytes"},
    {"MalformedType", [] { return one_pixel().chunk(std::string_view("a\0\x1b[", 4), ""); },
     "malformed type"},
    {"TextWithoutKeyEnd", [] { return with_text("tEXt", "no separator"); },
     "a keyword without end"},
    {"TextWithoutKey", [] { return with_text("tEXt", nul_terminated("")); },
     "a keyword of 0 bytes"},
    {"TextWithLongKey", [] { return with_text("tEXt", nul_terminated(std::string(80, 'k'))); },
     "a keyword of 80 bytes"},
    {"PackedTextWithoutMethod", [] { return with_text("zTXt", nul_terminated("key")); },
     "no compression method"},
    {"PackedTextWithUnknownMethod", [] { return with_text("zTXt", nul_terminated("key") + '\7'); },
     "unknown compression method 7"},
    {"PackedTextIsNoise", [] { return with_text("zTXt", nul_terminated("key") + '\0' + "noise"); },
     "not a zlib stream"},
    {"PackedTextIsCut",
     [] {
       const std::string packed = zlib_packed("some text");
       return with_text("zTXt", nul_terminated("key") + '\0' + packed.substr(0, packed.size() - 5));
     },
     "not a zlib stream"},
    {"TextBomb", [] { return with_text("zTXt", nul_terminated("key") + '\0' + text_bomb()); },
     "at most 1048576 bytes"},
    {"InternationalTextBomb",
     [] {
       return with_text("iTXt", nul_terminated("key") + '\1' + std::string(3, '\0') + text_bomb());
     },
     "at most 1048576 bytes"},
    {"InternationalTextWithoutFlag", [] { return with_text("iTXt", nul_terminated("key")); },
     "no compression flag"},
    {"InternationalTextWithoutLanguage",
     [] { return with_text("iTXt", nul_terminated("key") + std::string("\0\0en", 4)); },
     "a language tag without end"},
    {"InternationalTextWithoutTranslation",
     [] { return with_text("iTXt", nul_terminated("key") + std::string("\0\0en\0word", 9)); },
     "a translated keyword without end"},
    {"LongText",
     [] {
       return with_text("tEXt", nul_terminated("key") + std::string(kMaxPngTextBytes + 1, 'x'));
     },
     "more than 1048576 bytes"},
    {"ManyTexts", [] { return with_many_texts(kMaxPngTexts + 1, 1); }, "more than 256 texts"},
    {"ManyLargeTexts", [] { return with_many_texts(5, kMaxPngTextBytes); },
     "or 4194304 bytes of text"},
};

INSTANTIATE_TEST_SUITE_P(Files, HostilePng, testing::ValuesIn(kHostileFiles),
                         [](const testing::TestParamInfo<HostileFile>& file) {
                           return file.param.name;
                         });

TEST(DecodePng, PictureOverThePixelLimitIsRefusedBeforeMemoryIsTaken) {
  const PngBuilder file = PngBuilder().signature().header(0x7fffffff, 0x7fffffff).pixels("x").end();
  try {
    decode_png(file.bytes(), "huge.png");
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("2147483647x2147483647"));
  }
}

TEST(DecodePng, MissingPixelsAreABadFile) {
  const PngBuilder file = PngBuilder().signature().header(64, 64).pixels("x").end();
  EXPECT_THROW(decode_png(file.bytes(), "short.png"), Error);
}

TEST(DecodePng, UnknownColourTypeIsABadFile) {
  const PngBuilder file = PngBuilder().signature().header(1, 1, 5).pixels("xxxx").end();
  EXPECT_THROW(decode_png(file.bytes(), "odd.png"), Error);
}

TEST(ReadPngInfo, EveryTruncationOfASoundFileIsRefused) {
  const ImageText text{"parameters", "tabby, seed 1"};
  const auto bytes = encode_png({2, 1, {1, 2, 3, 4, 5, 6}}, {&text, 1});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(read_png_info(std::span(bytes).first(size), "cut.png"), Error) << size;
  }
}

TEST(ReadPngInfo, EveryFlippedBitIsNoticed) {
  const ImageText text{"parameters", "tabby, seed 1"};
  auto bytes = encode_png({2, 1, {1, 2, 3, 4, 5, 6}}, {&text, 1});
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte mask{static_cast<uint8_t>(1U << bit % 8)};
    bytes[bit / 8] ^= mask;
    EXPECT_THROW(read_png_info(bytes, "flipped.png"), Error) << bit;
    bytes[bit / 8] ^= mask;
  }
}

}  // namespace
}  // namespace nextscale
