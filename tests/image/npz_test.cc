// SPDX-License-Identifier: Apache-2.0
#include "image/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "core/error_format.h"
#include "tests/support/temporary_folder.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Image made_picture(int64_t number, int64_t width = 5, int64_t height = 3) {
  Image image{.width = width, .height = height, .rgb = {}};
  for (int64_t index = 0; index < width * height * 3; ++index) {
    image.rgb.push_back(static_cast<uint8_t>(number * 50 + index));
  }
  return image;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Number>
Number number_at(const std::string& bytes, size_t offset) {
  Number number = 0;
  std::memcpy(&number, bytes.data() + offset, sizeof(number));
  return number;
}

// The one stored entry of a ZIP, by its local header (APPNOTE 4.3.7).
struct Entry {
  std::string name;
  int method;
  std::string data;
};

Entry only_entry(const std::string& zip) {
  const size_t name_bytes = number_at<uint16_t>(zip, 26);
  const size_t extra_bytes = number_at<uint16_t>(zip, 28);
  const size_t data_bytes = number_at<uint32_t>(zip, 22);
  return {.name = zip.substr(30, name_bytes),
          .method = number_at<uint16_t>(zip, 8),
          .data = zip.substr(30 + name_bytes + extra_bytes, data_bytes)};
}

TEST(Npz, HoldsThePicturesOneAfterAnother) {
  const TemporaryFolder folder;
  write_npz(folder.path() / "two.npz", 2, [](int64_t number) { return made_picture(number); });
  const Entry entry = only_entry(bytes_of(folder.path() / "two.npz"));
  EXPECT_EQ(entry.name, "arr_0.npy");
  EXPECT_EQ(entry.method, 0);
  EXPECT_EQ(entry.data.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t header_bytes = 10 + number_at<uint16_t>(entry.data, 8);
  EXPECT_EQ(header_bytes % 64, 0U);
  EXPECT_THAT(entry.data.substr(10, header_bytes - 10),
              HasSubstr("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 5, 3), }"));
  std::string pixels;
  for (int64_t number = 0; number < 2; ++number) {
    const Image image = made_picture(number);
    pixels.append(image.rgb.begin(), image.rgb.end());
  }
  EXPECT_EQ(entry.data.substr(header_bytes), pixels);
}

TEST(Npz, EqualPicturesGiveEqualFiles) {
  const TemporaryFolder folder;
  for (const char* name : {"one.npz", "other.npz"}) {
    write_npz(folder.path() / name, 2, [](int64_t number) { return made_picture(number); });
  }
  EXPECT_EQ(bytes_of(folder.path() / "one.npz"), bytes_of(folder.path() / "other.npz"));
}

// What writing three pictures says; the folder must be as it was.
std::string complaint(const std::function<Image(int64_t)>& picture) {
  const TemporaryFolder folder;
  std::string result = "accepted";
  try {
    write_npz(folder.path() / "three.npz", 3, picture);
  } catch (const std::exception& error) {
    result = error.what();
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  return result;
}

TEST(Npz, RefusesAnotherSize) {
  EXPECT_THAT(complaint([](int64_t number) { return made_picture(number, 5 + number / 2); }),
              HasSubstr("picture 2 has 6x3 pixels, wanted 5x3"));
}

TEST(Npz, LeavesNothingWhenAPictureCannotBeHad) {
  EXPECT_EQ(complaint([](int64_t number) {
              if (number == 1) throw std::runtime_error("gone");
              return made_picture(number);
            }),
            "gone");
}

TEST(Npz, RefusesNoPicture) {
  const TemporaryFolder folder;
  EXPECT_THROW(
      write_npz(folder.path() / "none.npz", 0, [](int64_t number) { return made_picture(number); }),
      Error);
}

TEST(Npz, NamesAFolderThatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_THROW(write_npz(folder.path() / "missing" / "one.npz", 1,
                         [](int64_t number) { return made_picture(number); }),
               Error);
}

}  // namespace
}  // namespace nextscale
