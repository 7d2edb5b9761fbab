// SPDX-License-Identifier: Apache-2.0
#include "calibrate/report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "calibrate/chart.h"
#include "calibrate/report_style.h"
#include "core/error_format.h"
#include "policies/head_calibration.h"
#include "policies/registry.h"
#include "policies/spec.h"

namespace nextscale {
namespace {

constexpr const char* kClassNames[] = {"contextual", "structural"};
constexpr size_t kShownDigits = 12;

// ---- Tables -------------------------------------------------------------------------------------

struct Table {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
};

std::string html_table(const Table& table) {
  std::string out = "<details><summary>The numbers</summary><div class=\"scroll\"><table><tr>";
  for (const std::string& title : table.titles) out += "<th>" + html_text(title) + "</th>";
  out += "</tr>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (const std::string& entry : row) out += "<td>" + html_text(entry) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table></div></details>\n";
}

struct Figure {
  std::string title;
  std::string words;  // what is shown and how to read it
  std::string drawing;
  Table table;
};

std::string html_figure(const Figure& figure) {
  return fmt::format("<figure>\n<h2>{}</h2>\n<p>{}</p>\n{}{}</figure>\n", html_text(figure.title),
                     html_text(figure.words), figure.drawing, html_table(figure.table));
}

std::vector<std::string> numbers_below(int64_t count) {
  std::vector<std::string> names;
  for (int64_t number = 0; number < count; ++number) names.push_back(std::to_string(number));
  return names;
}

// ---- What the figures share ---------------------------------------------------------------------

class Report {
 public:
  Report(const CalibrationFile& file, const std::string& kv)
      : file_(file),
        values_(file.values),
        geometry_(file.header.geometry),
        kv_(kv),
        spec_(parse_policy_spec(kv)),
        alpha_(alpha_setting(spec_)),
        heads_(head_calibration(file.values, alpha_)) {}

  std::string page() const {
    std::string out =
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>Calibration of " +
        html_text(model_name()) + "</title>\n<style>" + std::string(kReportStyle) +
        "</style>\n<main>\n<h1>Calibration of " + html_text(model_name()) + "</h1>\n" + lead() +
        facts();
    for (const Figure& figure :
         {class_map(), variance_curve(), reliance(), shares(), budgets(), cached_tokens()}) {
      out += html_figure(figure);
    }
    return out + "</main>\n</html>\n";
  }

 private:
  std::string model_name() const {
    return fmt::format("{} {}", file_.header.family, file_.header.model_id.substr(0, kShownDigits));
  }

  std::string lead() const {
    return fmt::format(
        "<p class=\"lead\">Attention under the full cache, mean over {} samples and "
        "all queries.</p>\n",
        file_.header.source->samples);
  }

  std::string facts() const {
    const SampleSource& source = *file_.header.source;
    std::string out = "<figure><dl>";
    const auto add = [&](std::string_view name, std::string_view value) {
      out += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(name), html_text(value));
    };
    add("model", file_.header.model_id);
    add("shape",
        fmt::format("{} layers of {} key/value heads ({} query heads), {} scales, {} tokens",
                    geometry_.layers, geometry_.kv_heads, geometry_.query_heads,
                    geometry_.num_scales(), all_tokens()));
    add(source.kind, printable(fmt::format("{}", fmt::join(source.conditionings, ", ")), 400));
    for (const auto& [name, value] : source.settings.items())
      add(name, printable(value.is_string() ? value.get<std::string>() : value.dump()));
    for (const CalibrationImport& each : file_.header.imports) {
      add("imported", fmt::format("{}: {}", each.method, each.file));
    }
    add("made by", file_.header.tool);
    add("cache policy shown", kv_);
    return out + "</dl></figure>\n";
  }

  int64_t all_tokens() const { return geometry_.tokens_through(geometry_.num_scales() - 1); }
  size_t num_lists() const { return heads_.classes.size(); }
  int64_t layer_of(size_t list) const { return static_cast<int64_t>(list) / geometry_.kv_heads; }
  int64_t head_of(size_t list) const { return static_cast<int64_t>(list) % geometry_.kv_heads; }
  const char* class_name(size_t list) const {
    return kClassNames[static_cast<size_t>(heads_.classes[list])];
  }
  int64_t num_contextual() const {
    return std::ranges::count(heads_.classes, HeadClass::kContextual);
  }
  // "7 (16x16)"
  std::string step_name(int step) const {
    const Grid& grid = geometry_.scales[static_cast<size_t>(step)];
    return fmt::format("{} ({}x{})", step, grid.height, grid.width);
  }

  // ---- The figures ------------------------------------------------------------------------------

  Figure class_map() const {
    ClassMap map{.rows = {},
                 .class_names = {kClassNames[0], kClassNames[1]},
                 .row_names = numbers_below(geometry_.kv_heads),
                 .column_names = numbers_below(geometry_.layers),
                 .row_axis = "head",
                 .column_axis = "layer"};
    Table table{.titles = {"layer", "contextual heads"}, .rows = {}};
    for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
      auto& row = map.rows.emplace_back();
      for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
        row.push_back(static_cast<int>(heads_.class_of(geometry_, layer, head)));
      }
    }
    for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
      std::vector<int64_t> contextual;
      for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
        if (heads_.class_of(geometry_, layer, head) == HeadClass::kContextual) {
          contextual.push_back(head);
        }
      }
      table.rows.push_back({std::to_string(layer), fmt::format("{}", fmt::join(contextual, " "))});
    }
    return {.title = "Head classes",
            .words = fmt::format("Contextual heads, whose queries all attend alike, and structural "
                                 "heads, whose queries each attend their own place: the {} of {} "
                                 "heads with the least variance are contextual (alpha = {}).",
                                 num_contextual(), num_lists(), short_number(alpha_)),
            .drawing = draw(map),
            .table = std::move(table)};
  }

  // Heads by variance, the least first.
  std::vector<size_t> ranking() const {
    std::vector<size_t> order(num_lists());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, {}, [&](size_t list) { return values_.sigma[list]; });
    return order;
  }

  Figure variance_curve() const {
    LineChart chart{.series = {{.name = kClassNames[0], .colour = 0, .x = {}, .y = {}},
                               {.name = kClassNames[1], .colour = 1, .x = {}, .y = {}}},
                    .x_axis = "heads, by rank",
                    .y_axis = "variance of the columns",
                    .y_scale = ColourScale::kLogarithmic};
    Table table{.titles = {"rank", "layer", "head", "variance", "class"}, .rows = {}};
    const std::vector<size_t> order = ranking();
    for (size_t rank = 0; rank < order.size(); ++rank) {
      const size_t list = order[rank];
      Series& series = chart.series[static_cast<size_t>(heads_.classes[list])];
      series.x.push_back(static_cast<double>(rank));
      series.y.push_back(values_.sigma[list]);
      table.rows.push_back({std::to_string(rank), std::to_string(layer_of(list)),
                            std::to_string(head_of(list)), short_number(values_.sigma[list]),
                            class_name(list)});
    }
    chart.cut = static_cast<double>(num_contextual()) - 0.5;
    chart.cut_label = fmt::format("alpha = {}: {} heads", short_number(alpha_), num_contextual());
    return {.title = "Variance ranking",
            .words =
                "How much the attention that a token gets differs between the queries of the "
                "last step, summed over tokens. Where the curve is steep, the cut separates "
                "clearly; where it is flat, heads on both sides of it are alike.",
            .drawing = draw(chart),
            .table = std::move(table)};
  }

  // One panel per class: layers down, steps across.
  template <typename Value>
  HeatMap by_class(int steps, const Value& value) const {
    HeatMap map;
    map.row_names = numbers_below(geometry_.layers);
    map.column_names = numbers_below(steps);
    map.row_axis = "layer";
    map.column_axis = "step";
    const std::vector<int64_t> sizes = heads_.group_sizes(geometry_);
    for (size_t type = 0; type < kHeadClasses; ++type) {
      HeatPanel& panel = map.panels.emplace_back();
      panel.title = kClassNames[type];
      for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
        auto& row = panel.rows.emplace_back();
        const size_t group = static_cast<size_t>(layer) * kHeadClasses + type;
        for (int step = 0; step < steps; ++step) {
          row.push_back(sizes[group] == 0 ? std::optional<double>() : value(layer, type, step));
        }
      }
    }
    return map;
  }

  Table class_table(const HeatMap& map) const {
    Table table{.titles = {"layer", "class"}, .rows = {}};
    for (size_t step = 0; step < map.column_names.size(); ++step) {
      table.titles.push_back(step_name(static_cast<int>(step)));
    }
    for (size_t layer = 0; layer < map.row_names.size(); ++layer) {
      for (const HeatPanel& panel : map.panels) {
        std::vector<std::string> row{map.row_names[layer], panel.title};
        for (const auto& value : panel.rows[layer]) {
          row.push_back(value ? short_number(*value) : "");
        }
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

  Figure reliance() const {
    const int steps = geometry_.num_scales();
    HeatMap map = by_class(steps - 1, [&](int64_t layer, size_t type, int step) {
      const size_t group = static_cast<size_t>(layer) * kHeadClasses + type;
      return heads_.reliance[group * static_cast<size_t>(steps) + static_cast<size_t>(step)];
    });
    map.value_name = "reliance";
    map.scale = ColourScale::kLogarithmic;
    Table table = class_table(map);
    return {.title = "Reliance on the cache",
            .words =
                "What later steps give to one token of the history in the mean, from the end "
                "of a step on (HACK++'s gamma). Darker on a light page, brighter on a dark "
                "one: evicting there costs more, so budgets go there.",
            .drawing = draw(map),
            .table = std::move(table)};
  }

  // Attention to earlier scales at a step, mean over the heads that `include` takes.
  template <typename Include>
  std::optional<double> history_share(int step, const Include& include) const {
    double sum = 0;
    double count = 0;
    for (size_t list = 0; list < num_lists(); ++list) {
      if (!include(list)) continue;
      sum += 1.0 - values_.mass_of({layer_of(list), head_of(list)}, step, step);
      ++count;
    }
    return count == 0 ? std::nullopt : std::optional(sum / count);
  }

  Figure shares() const {
    LineChart chart{.series = {{.name = "share of tokens", .colour = -1, .x = {}, .y = {}},
                               {.name = "attention, all heads", .colour = 2, .x = {}, .y = {}},
                               {.name = kClassNames[0], .colour = 0, .x = {}, .y = {}},
                               {.name = kClassNames[1], .colour = 1, .x = {}, .y = {}}},
                    .x_names = numbers_below(geometry_.num_scales()),
                    .x_axis = "step",
                    .y_axis = "share of the history"};
    Table table{
        .titles = {"step", "tokens", "attention, all heads", kClassNames[0], kClassNames[1]},
        .rows = {}};
    for (int step = 1; step < geometry_.num_scales(); ++step) {
      const double tokens = static_cast<double>(geometry_.tokens_through(step - 1)) /
                            static_cast<double>(geometry_.tokens_through(step));
      const auto of_class = [&](HeadClass type) {
        return history_share(step, [&](size_t list) { return heads_.classes[list] == type; });
      };
      const std::optional<double> values[] = {
          tokens, history_share(step, [](size_t) { return true; }),
          of_class(HeadClass::kContextual), of_class(HeadClass::kStructural)};
      std::vector<std::string> row{step_name(step)};
      for (size_t at = 0; at < chart.series.size(); ++at) {
        row.push_back(values[at] ? short_number(*values[at]) : "");
        if (!values[at]) continue;
        chart.series[at].x.push_back(step);
        chart.series[at].y.push_back(*values[at]);
      }
      table.rows.push_back(std::move(row));
    }
    std::erase_if(chart.series, [](const Series& series) { return series.x.empty(); });
    return {.title = "History: its share of the attention against its share of the tokens",
            .words =
                "What a step gives to all earlier scales together, beside the share of the "
                "keys that they are. Below the dashed line the history gets less than its "
                "number of tokens would suggest.",
            .drawing = draw(chart),
            .table = std::move(table)};
  }

  Schedule schedule() const {
    return make_policy(spec_, {.geometry = geometry_, .calibration = &values_})
        ->schedule(geometry_);
  }

  Figure budgets() const {
    const Schedule lengths = schedule();
    HeatMap map = by_class(geometry_.num_scales() - 1, [&](int64_t layer, size_t type, int step) {
      double sum = 0;
      double count = 0;
      for (int64_t head = 0; head < geometry_.kv_heads; ++head) {
        if (static_cast<size_t>(heads_.class_of(geometry_, layer, head)) != type) continue;
        sum += static_cast<double>(lengths.cached(step, layer, head));
        ++count;
      }
      return sum / count;
    });
    map.value_name = "tokens per head";
    Table table = class_table(map);
    return {.title = "Budgets of " + kv_,
            .words =
                "Tokens that a head keeps after each step, mean over the heads of a class in "
                "a layer.",
            .drawing = draw(map),
            .table = std::move(table)};
  }

  Figure cached_tokens() const {
    const Schedule lengths = schedule();
    LineChart chart{.series = {{.name = "full cache", .colour = -1, .x = {}, .y = {}},
                               {.name = "this policy", .colour = 2, .x = {}, .y = {}}},
                    .x_names = numbers_below(geometry_.num_scales() - 1),
                    .x_axis = "step",
                    .y_axis = "cached tokens per head"};
    Table table{.titles = {"step", "full cache", kv_, "kept"}, .rows = {}};
    for (int step = 0; step + 1 < geometry_.num_scales(); ++step) {
      double sum = 0;
      for (size_t list = 0; list < num_lists(); ++list) {
        sum += static_cast<double>(lengths.cached(step, layer_of(list), head_of(list)));
      }
      const double kept = sum / static_cast<double>(num_lists());
      const auto full = static_cast<double>(geometry_.tokens_through(step));
      for (Series& series : chart.series) series.x.push_back(step);
      chart.series[0].y.push_back(full);
      chart.series[1].y.push_back(kept);
      table.rows.push_back({step_name(step), short_number(full), short_number(kept),
                            fmt::format("{:.1f} %", 100.0 * kept / full)});
    }
    return {.title = "The cache over the steps",
            .words = "Tokens per head that are held after each step, mean over the model.",
            .drawing = draw(chart),
            .table = std::move(table)};
  }

  const CalibrationFile& file_;
  const Calibration& values_;
  const Geometry& geometry_;
  std::string kv_;
  PolicySpec spec_;
  double alpha_;
  HeadCalibration heads_;
};

}  // namespace

std::string calibration_report(const CalibrationFile& file, const std::string& kv) {
  if (!file.header.source || file.header.geometry.num_scales() < 2) {
    fail(ErrorCode::kMismatch,
         "report: the calibration holds imported results alone, wanted measured attention; make "
         "one with `nextscale calibrate -m MODEL -n 50 -o FILE`");
  }
  return Report(file, kv).page();
}

}  // namespace nextscale
