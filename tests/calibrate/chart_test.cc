// SPDX-License-Identifier: Apache-2.0
#include "calibrate/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nextscale {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

HeatMap some_map() {
  return {.panels = {{.title = "left", .rows = {{1.0, 10.0}, {std::nullopt, 100.0}}}},
          .row_names = {"a", "b"},
          .column_names = {"x", "y"},
          .row_axis = "row",
          .column_axis = "column",
          .value_name = "value"};
}

TEST(HeatMap, ColoursFromTheLeastToTheMostAndLeavesOutWhatIsNotThere) {
  const std::string drawing = draw(some_map());
  EXPECT_THAT(drawing, HasSubstr("class=\"q0\"><title>row a, column x: 1<"));
  EXPECT_THAT(drawing, HasSubstr("class=\"q8\"><title>row b, column y: 100<"));
  EXPECT_THAT(drawing, HasSubstr("class=\"none\"><title>row b, column x: none<"));
}

TEST(HeatMap, LogarithmicColoursSpreadOrdersOfMagnitude) {
  HeatMap map = some_map();
  EXPECT_THAT(draw(map), HasSubstr("class=\"q0\"><title>row a, column y: 10<"));
  map.scale = ColourScale::kLogarithmic;
  EXPECT_THAT(draw(map), HasSubstr("class=\"q4\"><title>row a, column y: 10<"));
}

TEST(HeatMap, ValuesThatAreAllEqualAreNoMistake) {
  HeatMap map = some_map();
  for (const ColourScale scale : {ColourScale::kLinear, ColourScale::kLogarithmic}) {
    map.scale = scale;
    map.panels[0].rows = {{0.0, 0.0}, {0.0, 0.0}};
    EXPECT_THAT(draw(map), Not(HasSubstr("nan")));
  }
}

TEST(LineChart, MarksEveryPointAndTheCut) {
  LineChart chart{.series = {{.name = "one", .colour = 0, .x = {0, 1, 2}, .y = {0.1, 0.2, 0.4}}},
                  .x_names = {"a", "b", "c"},
                  .x_axis = "x",
                  .y_axis = "y",
                  .cut = 0.5,
                  .cut_label = "here"};
  const std::string drawing = draw(chart);
  EXPECT_EQ(count(drawing, "<circle"), 3U);
  EXPECT_THAT(drawing, HasSubstr("one: 0.4"));
  EXPECT_THAT(drawing, HasSubstr(">here<"));
}

TEST(LineChart, DrawsZerosAndSinglePoints) {
  for (const ColourScale scale : {ColourScale::kLinear, ColourScale::kLogarithmic}) {
    const LineChart chart{.series = {{.name = "one", .colour = 0, .x = {0}, .y = {0}}},
                          .x_axis = "x",
                          .y_axis = "y",
                          .y_scale = scale};
    EXPECT_THAT(draw(chart), Not(HasSubstr("nan")));
    EXPECT_THAT(draw(chart), Not(HasSubstr("inf")));
  }
}

TEST(HtmlText, IsNoMarkup) {
  EXPECT_EQ(html_text("<script>'&\""), "&lt;script&gt;&#39;&amp;&quot;");
}

}  // namespace
}  // namespace nextscale
