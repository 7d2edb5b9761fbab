// SPDX-License-Identifier: Apache-2.0
#include "calibrate/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace nextscale {
namespace {

// All in pixels of the drawing.
constexpr double kWidth = 760;
constexpr double kLeft = 58;
constexpr double kTop = 26;
constexpr double kPanelGap = 64;
constexpr double kAxisSpace = 40;    // below a plot: names and title
constexpr double kLegendSpace = 34;  // below that
constexpr double kNameGap = 6;
constexpr double kTextHeight = 11;

constexpr int kColours = 9;  // classes q0 to q8 of the page's style

// A drawing of this height around `body`.
std::string svg(double height, std::string_view body) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\">{}</svg>\n", kWidth, height,
                     body);
}

enum class Anchor { kStart, kMiddle, kEnd };

std::string text(double x, double y, std::string_view words, Anchor anchor,
                 std::string_view style = "t") {
  constexpr const char* kAnchors[] = {"start", "middle", "end"};
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\" text-anchor=\"{}\">{}</text>", x,
                     y, style, kAnchors[static_cast<int>(anchor)], html_text(words));
}

// Along the left border, read upwards.
std::string vertical_title(double x, double middle, std::string_view words) {
  return fmt::format(
      "<text transform=\"translate({:.1f} {:.1f}) rotate(-90)\" class=\"a\" "
      "text-anchor=\"middle\">{}</text>",
      x, middle, html_text(words));
}

std::string cell(double x, double y, double width, double height, std::string_view style,
                 std::string_view title) {
  return fmt::format(
      "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" class=\"{}\"><title>{}"
      "</title></rect>",
      x, y, width, height, style, html_text(title));
}

// Cells of a grid with names on both sides; every so many names where they are too close.
struct GridFrame {
  double x = 0;
  double y = 0;
  double cell_width = 0;
  double cell_height = 0;
  double gap = 1;

  std::string names(const std::vector<std::string>& rows,
                    const std::vector<std::string>& columns) const {
    std::string out;
    const auto step_of = [](double size) {
      return static_cast<size_t>(std::ceil(kTextHeight / size));
    };
    for (size_t row = 0; row < rows.size(); row += step_of(cell_height)) {
      out += text(x - kNameGap, y + (static_cast<double>(row) + 0.5) * cell_height + 3.5, rows[row],
                  Anchor::kEnd);
    }
    constexpr double kNameWidth = 18;
    const auto step = static_cast<size_t>(std::ceil(kNameWidth / cell_width));
    const double below = y + static_cast<double>(rows.size()) * cell_height + kTextHeight + 3;
    for (size_t column = 0; column < columns.size(); column += step) {
      out += text(x + (static_cast<double>(column) + 0.5) * cell_width, below, columns[column],
                  Anchor::kMiddle);
    }
    return out;
  }

  std::string at(size_t row, size_t column, std::string_view style, std::string_view title) const {
    return cell(x + static_cast<double>(column) * cell_width,
                y + static_cast<double>(row) * cell_height, cell_width - gap, cell_height - gap,
                style, title);
  }
};

double row_height(size_t rows) {
  constexpr double kLargest = 18;
  constexpr double kSmallest = 9;
  constexpr double kWanted = 360;
  return std::clamp(kWanted / static_cast<double>(rows), kSmallest, kLargest);
}

// Values to one of the colours.
class Colours {
 public:
  explicit Colours(const HeatMap& map) : logarithmic_(map.scale == ColourScale::kLogarithmic) {
    double lowest = std::numeric_limits<double>::infinity();
    double highest = -lowest;
    for (const HeatPanel& panel : map.panels) {
      for (const auto& row : panel.rows) {
        for (const auto& value : row) {
          if (!value || (logarithmic_ && *value <= 0)) continue;
          lowest = std::min(lowest, *value);
          highest = std::max(highest, *value);
        }
      }
    }
    if (lowest > highest) lowest = highest = logarithmic_ ? 1 : 0;
    lowest_ = logarithmic_ ? std::log(lowest) : lowest;
    span_ = (logarithmic_ ? std::log(highest) : highest) - lowest_;
  }

  int of(double value) const {
    if (logarithmic_ && value <= 0) return 0;
    const double place =
        span_ == 0 ? 0 : ((logarithmic_ ? std::log(value) : value) - lowest_) / span_;
    return std::clamp(static_cast<int>(place * kColours), 0, kColours - 1);
  }

  // Where colour `number` begins.
  double begin_of(int number) const {
    const double at = lowest_ + span_ * number / kColours;
    return logarithmic_ ? std::exp(at) : at;
  }

 private:
  bool logarithmic_;
  double lowest_;
  double span_;
};

std::string legend(const Colours& colours, std::string_view name, double y) {
  constexpr double kSwatch = 46;
  constexpr double kSwatchHeight = 9;
  const double left = kWidth - kSwatch * kColours - 40;
  std::string out = text(left - 10, y + kSwatchHeight, name, Anchor::kEnd, "a");
  for (int number = 0; number < kColours; ++number) {
    const double x = left + kSwatch * number;
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"q{}\"/>", x, y,
        kSwatch - 1, kSwatchHeight, number);
    out += text(x, y + kSwatchHeight + kTextHeight + 1, short_number(colours.begin_of(number)),
                Anchor::kStart);
  }
  out += text(left + kSwatch * kColours, y + kSwatchHeight + kTextHeight + 1,
              short_number(colours.begin_of(kColours)), Anchor::kStart);
  return out;
}

std::string class_legend(const std::vector<std::string>& names, double y) {
  constexpr double kSide = 10;
  constexpr double kSpace = 150;
  std::string out;
  for (size_t number = 0; number < names.size(); ++number) {
    const double x = kLeft + kSpace * static_cast<double>(number);
    out += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.0f}\" class=\"c{}\"/>", x, y,
        kSide, kSide, number);
    out += text(x + kSide + kNameGap, y + kSide - 1, names[number], Anchor::kStart, "a");
  }
  return out;
}

}  // namespace

std::string html_text(std::string_view words) {
  std::string out;
  for (const char letter : words) {
    switch (letter) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

std::string short_number(double value) { return fmt::format("{:.3g}", value); }

std::string draw(const HeatMap& map) {
  const Colours colours(map);
  const auto panels = static_cast<double>(map.panels.size());
  const double room = (kWidth - kLeft - (panels - 1) * kPanelGap) / panels;
  constexpr double kWidest = 48;
  GridFrame frame{.x = kLeft, .y = kTop};
  frame.cell_width = std::min(room / static_cast<double>(map.column_names.size()), kWidest);
  frame.cell_height = row_height(map.row_names.size());
  const double bottom = kTop + frame.cell_height * static_cast<double>(map.row_names.size());
  std::string body = vertical_title(14, (kTop + bottom) / 2, map.row_axis);
  for (const HeatPanel& panel : map.panels) {
    body += text(frame.x, kTop - 9, panel.title, Anchor::kStart, "h");
    body += frame.names(map.row_names, map.column_names);
    const double plot_width = frame.cell_width * static_cast<double>(map.column_names.size());
    body += text(frame.x + plot_width / 2, bottom + kTextHeight * 2 + 8, map.column_axis,
                 Anchor::kMiddle, "a");
    for (size_t row = 0; row < panel.rows.size(); ++row) {
      for (size_t column = 0; column < panel.rows[row].size(); ++column) {
        const auto& value = panel.rows[row][column];
        const std::string where = fmt::format("{} {}, {} {}: ", map.row_axis, map.row_names[row],
                                              map.column_axis, map.column_names[column]);
        body += frame.at(row, column, value ? fmt::format("q{}", colours.of(*value)) : "none",
                         where + (value ? short_number(*value) : "none"));
      }
    }
    frame.x += plot_width + kPanelGap;
  }
  const double end = bottom + kAxisSpace;
  return svg(end + kLegendSpace, body + legend(colours, map.value_name, end));
}

std::string draw(const ClassMap& map) {
  constexpr double kWidest = 22;
  GridFrame frame{.x = kLeft, .y = kTop};
  frame.cell_width =
      std::min((kWidth - kLeft) / static_cast<double>(map.column_names.size()), kWidest);
  frame.cell_height = row_height(map.row_names.size());
  const double bottom = kTop + frame.cell_height * static_cast<double>(map.row_names.size());
  std::string body = vertical_title(14, (kTop + bottom) / 2, map.row_axis);
  body += frame.names(map.row_names, map.column_names);
  const double plot_width = frame.cell_width * static_cast<double>(map.column_names.size());
  body += text(kLeft + plot_width / 2, bottom + kTextHeight * 2 + 8, map.column_axis,
               Anchor::kMiddle, "a");
  for (size_t row = 0; row < map.rows.size(); ++row) {
    for (size_t column = 0; column < map.rows[row].size(); ++column) {
      const int number = map.rows[row][column];
      body += frame.at(
          row, column, fmt::format("c{}", number),
          fmt::format("{} {}, {} {}: {}", map.row_axis, map.row_names[row], map.column_axis,
                      map.column_names[column], map.class_names[static_cast<size_t>(number)]));
    }
  }
  const double end = bottom + kAxisSpace;
  return svg(end + 16, body + class_legend(map.class_names, end));
}

namespace {

// Whether an axis ends where the values do, or at the next named value.
enum class AxisEnds { kExact, kNamed };

// A scale of an axis: values to pixels, and the values that are named.
class Axis {
 public:
  Axis(double lowest, double highest, ColourScale scale, AxisEnds ends)
      : logarithmic_(scale == ColourScale::kLogarithmic) {
    logarithmic_ ? name_powers(lowest, highest) : name_even(lowest, highest);
    if (ends == AxisEnds::kExact)
      std::erase_if(ticks_, [=](double tick) { return tick > highest; });
    low_ = shown(ends == AxisEnds::kExact ? lowest : ticks_.front());
    high_ = shown(ends == AxisEnds::kExact ? highest : ticks_.back());
  }

  Axis& between(double from, double to) {
    from_ = from;
    to_ = to;
    return *this;
  }

  double at(double value) const {
    const double clamped = logarithmic_ ? std::max(value, ticks_.front()) : value;
    return from_ + (shown(clamped) - low_) / (high_ - low_) * (to_ - from_);
  }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  double shown(double value) const { return logarithmic_ ? std::log10(value) : value; }

  // Powers of ten; 2 and 5 times them, too, where there are few.
  void name_powers(double lowest, double highest) {
    constexpr double kFewPowers = 2.5;
    const bool is_narrow = std::log10(highest / lowest) < kFewPowers;
    const std::vector<double> digits = is_narrow ? std::vector{1.0, 2.0, 5.0} : std::vector{1.0};
    double below = 0;
    for (double power = std::floor(std::log10(lowest)); ticks_.empty() || ticks_.back() < highest;
         ++power) {
      for (const double digit : digits) {
        const double tick = digit * std::pow(10.0, power);
        if (tick <= lowest * (1 + kTickSlack)) {
          below = tick;
        } else if (ticks_.empty() || ticks_.back() < highest) {
          ticks_.push_back(tick);
        }
      }
    }
    ticks_.insert(ticks_.begin(), below);
  }

  // About five steps of 1, 2 or 5 times a power of ten.
  void name_even(double lowest, double highest) {
    constexpr double kSteps = 5;
    const double rough = std::max(highest - lowest, 1e-12) / kSteps;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double digit = rough / power;
    const double step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    for (double tick = std::floor(lowest / step);; ++tick) {
      ticks_.push_back(tick * step);
      if (tick * step >= highest - step * kTickSlack) break;
    }
    if (ticks_.size() < 2) ticks_.push_back(ticks_.front() + step);
  }

  static constexpr double kTickSlack = 1e-9;  // ticks are rounded numbers

  bool logarithmic_;
  double from_ = 0;
  double to_ = 1;
  double low_ = 0;
  double high_ = 1;
  std::vector<double> ticks_;
};

struct Range {
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -std::numeric_limits<double>::infinity();

  void include(double value) {
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  }
};

std::string colour_name(int colour) { return colour < 0 ? "cr" : fmt::format("c{}", colour); }

std::string stroke_name(int colour) { return fmt::format("s{}", colour_name(colour)); }

class LinePlot {
 public:
  explicit LinePlot(const LineChart& chart) : chart_(chart), x_(x_axis(chart)), y_(y_axis(chart)) {}

  std::string draw() const {
    std::string body = frame();
    if (chart_.cut) body += cut();
    for (const Series& series : chart_.series) body += line(series);
    return svg(kBottom + kAxisSpace + 18, body + names());
  }

 private:
  static constexpr double kBottom = 280;
  static constexpr double kRight = kWidth - 14;
  static constexpr double kInset = 8;  // of the first and the last value of x

  static Axis x_axis(const LineChart& chart) {
    Range range;
    for (const Series& series : chart.series) {
      for (const double x : series.x) range.include(x);
    }
    return Axis(range.lowest, std::max(range.highest, range.lowest + 1), ColourScale::kLinear,
                AxisEnds::kExact)
        .between(kLeft + kInset, kRight - kInset);
  }

  static Axis y_axis(const LineChart& chart) {
    Range range;
    const bool logarithmic = chart.y_scale == ColourScale::kLogarithmic;
    if (!logarithmic) range.include(0);
    for (const Series& series : chart.series) {
      for (const double y : series.y) {
        if (!logarithmic || y > 0) range.include(y);
      }
    }
    if (range.lowest > range.highest) range = {.lowest = 0.1, .highest = 1};
    return Axis(range.lowest, range.highest, chart.y_scale, AxisEnds::kNamed)
        .between(kBottom, kTop);
  }

  std::string frame() const {
    std::string out = vertical_title(14, (kTop + kBottom) / 2, chart_.y_axis);
    for (const double tick : y_.ticks()) {
      out +=
          fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"g\"/>",
                      kLeft, kRight, y_.at(tick), y_.at(tick));
      out += text(kLeft - kNameGap, y_.at(tick) + 3.5, short_number(tick), Anchor::kEnd);
    }
    const double below = kBottom + kTextHeight + 5;
    if (chart_.x_names.empty()) {
      for (const double tick : x_.ticks()) {
        out += text(x_.at(tick), below, short_number(tick), Anchor::kMiddle);
      }
    } else {
      for (size_t at = first_x(); at < chart_.x_names.size(); ++at) {
        out += text(x_.at(static_cast<double>(at)), below, chart_.x_names[at], Anchor::kMiddle);
      }
    }
    return out + text((kLeft + kRight) / 2, kBottom + 2 * kTextHeight + 10, chart_.x_axis,
                      Anchor::kMiddle, "a");
  }

  // Series may begin behind the first name.
  size_t first_x() const {
    double first = static_cast<double>(chart_.x_names.size());
    for (const Series& series : chart_.series) {
      for (const double x : series.x) first = std::min(first, x);
    }
    return static_cast<size_t>(first);
  }

  std::string cut() const {
    const double x = x_.at(*chart_.cut);
    const bool is_left = x < (kLeft + kRight) / 2;
    return fmt::format(
               "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"k\"/>", x, x,
               kTop - 16, kBottom) +
           text(x + (is_left ? 6 : -6), kTop - 7, chart_.cut_label,
                is_left ? Anchor::kStart : Anchor::kEnd, "h");
  }

  // Of points that are few enough to be told apart.
  bool has_marks() const {
    constexpr size_t kMostMarks = 60;
    size_t points = 0;
    for (const Series& series : chart_.series) points += series.x.size();
    return points <= kMostMarks;
  }

  std::string line(const Series& series) const {
    std::string points;
    std::string marks;
    for (size_t at = 0; at < series.x.size(); ++at) {
      const double x = x_.at(series.x[at]);
      const double y = y_.at(series.y[at]);
      points += fmt::format("{:.1f},{:.1f} ", x, y);
      if (!has_marks()) continue;
      marks += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" class=\"{}\"><title>{}: {}"
          "</title></circle>",
          x, y, colour_name(series.colour), html_text(series.name), short_number(series.y[at]));
    }
    return fmt::format("<polyline points=\"{}\" class=\"l {}\"/>", points,
                       stroke_name(series.colour)) +
           marks;
  }

  // A legend below: lines may end too close to each other for names there.
  std::string names() const {
    constexpr double kSpace = 170;
    const double y = kBottom + kAxisSpace + 10;
    std::string out;
    for (size_t at = 0; at < chart_.series.size(); ++at) {
      const double x = kLeft + kSpace * static_cast<double>(at);
      out += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"l {}\"/>", x,
          x + 18, y - 4, y - 4, stroke_name(chart_.series[at].colour));
      out += text(x + 24, y, chart_.series[at].name, Anchor::kStart, "a");
    }
    return out;
  }

  const LineChart& chart_;
  Axis x_;
  Axis y_;
};

}  // namespace

std::string draw(const LineChart& chart) { return LinePlot(chart).draw(); }

}  // namespace nextscale
