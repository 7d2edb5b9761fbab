// SPDX-License-Identifier: Apache-2.0
// Charts as SVG text, for pages that need neither scripts nor anything from elsewhere. Colours are
// classes of the page's style (report_style.h), so that light and dark pages share one drawing.
// Every mark says its value in a <title>. Pure functions.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nextscale {

// As HTML shows it: <, >, &, quotes escaped.
std::string html_text(std::string_view text);

// Three significant digits, without needless zeros.
std::string short_number(double value);

// ---- Heat maps ----------------------------------------------------------------------------------

enum class ColourScale { kLinear, kLogarithmic };

struct HeatPanel {
  std::string title = {};
  std::vector<std::vector<std::optional<double>>> rows = {};  // nothing where there is no value
};

// Panels side by side with one colour scale.
struct HeatMap {
  std::vector<HeatPanel> panels = {};
  std::vector<std::string> row_names = {};
  std::vector<std::string> column_names = {};
  std::string row_axis = {};
  std::string column_axis = {};
  std::string value_name = {};  // for the legend
  ColourScale scale = ColourScale::kLinear;
};

std::string draw(const HeatMap& map);

// ---- Classes ------------------------------------------------------------------------------------

// One of a few classes at each place.
struct ClassMap {
  std::vector<std::vector<int>> rows = {};    // class numbers
  std::vector<std::string> class_names = {};  // at most four
  std::vector<std::string> row_names = {};
  std::vector<std::string> column_names = {};
  std::string row_axis = {};
  std::string column_axis = {};
};

std::string draw(const ClassMap& map);

// ---- Lines --------------------------------------------------------------------------------------

struct Series {
  std::string name = {};
  int colour = 0;  // of the classes; -1: of what the others are compared with
  std::vector<double> x = {};
  std::vector<double> y = {};
};

struct LineChart {
  std::vector<Series> series = {};
  std::vector<std::string> x_names = {};  // of whole numbers from 0; empty: numbers
  std::string x_axis = {};
  std::string y_axis = {};
  ColourScale y_scale = ColourScale::kLinear;
  // A vertical line with words, between two values of x.
  std::optional<double> cut = {};
  std::string cut_label = {};
};

std::string draw(const LineChart& chart);

}  // namespace nextscale
