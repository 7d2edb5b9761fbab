// SPDX-License-Identifier: Apache-2.0
#include "models/infinity/picture_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "models/infinity/schedules.h"

namespace nextscale {
namespace {

TEST(InfinityPicture, ReadsPixelsSizesAndShapes) {
  EXPECT_EQ(find_infinity_picture("1024x1024"), (InfinityPicture{1.0, 13}));
  EXPECT_EQ(find_infinity_picture("864x1152"), (InfinityPicture{1.333, 13}));
  EXPECT_EQ(find_infinity_picture("1M"), (InfinityPicture{1.0, 13}));
  EXPECT_EQ(find_infinity_picture("0.06M"), (InfinityPicture{1.0, 7}));
  EXPECT_EQ(find_infinity_picture("16:9@0.25M"), (InfinityPicture{0.571, 10}));
  EXPECT_EQ(find_infinity_picture("5scales"), (InfinityPicture{1.0, 5}));
}

TEST(InfinityPicture, PixelsGoToTheNearestShapeAndNumberOfPixels) {
  EXPECT_EQ(find_infinity_picture("1024x768"), (InfinityPicture{0.75, 12}));  // 960x720
  EXPECT_EQ(find_infinity_picture("250x260"), (InfinityPicture{1.0, 7}));
  EXPECT_EQ(find_infinity_picture("4000x1000"), (InfinityPicture{0.333, 13}));
}

TEST(InfinityPicture, RefusesWhatIsNone) {
  for (const char* text :
       {"", "x", "1024", "1024x", "x768", "-5x5", "0x0", "1e9x1e9", "nanx1", "infx1", "1Mx", "@1M",
        "4:3@", "4:@1M", "4:3", "1scales", "14scales", "2.5scales", "1024x768x3"}) {
    EXPECT_FALSE(find_infinity_picture(text)) << text;
  }
}

TEST(InfinityPicture, TextMeansThePicture) {
  for (const double aspect : infinity_aspects()) {
    for (int num_scales = 2; num_scales <= kInfinityScales; ++num_scales) {
      const InfinityPicture picture{aspect, num_scales};
      EXPECT_EQ(find_infinity_picture(picture_text(picture)), picture) << picture_text(picture);
    }
  }
}

// The official table of schedules, and the coordinates that rotary embeddings see.
TEST(InfinityPicture, SchedulesAndCoordinatesAreTheOfficialOnes) {
  std::ifstream file(std::string(NEXTSCALE_TEST_DATA) + "/infinity/schedules.json");
  const auto golden = nlohmann::json::parse(file);
  for (const InfinitySize& size : infinity_sizes()) {
    EXPECT_EQ(golden.at("num_scales").at(std::string(size.name)), size.num_scales);
  }
  ASSERT_EQ(golden.at("templates").size(), infinity_aspects().size());
  for (const auto& shape : golden.at("templates")) {
    const auto aspect = shape.at("h_div_w").get<double>();
    EXPECT_EQ(nearest_infinity_aspect(aspect), aspect);
    const std::vector<Grid> maps = infinity_schedule(aspect, kInfinityScales);
    for (size_t scale = 0; scale < maps.size(); ++scale) {
      EXPECT_EQ(shape.at("scales").at(scale), (std::vector{maps[scale].height, maps[scale].width}));
      const RopeCoordinates coordinates = rope_coordinates(aspect, maps[scale]);
      EXPECT_EQ(shape.at("rope_rows").at(scale), coordinates.rows) << aspect << " " << scale;
      EXPECT_EQ(shape.at("rope_cols").at(scale), coordinates.columns) << aspect << " " << scale;
    }
  }
}

}  // namespace
}  // namespace nextscale
