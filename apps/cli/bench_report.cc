// SPDX-License-Identifier: Apache-2.0
#include "bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/machine.h"
#include "commit.h"
#include "core/memory_info.h"
#include "engine/run_setup.h"

namespace nextscale::cli {
namespace {

using Line = std::vector<std::string>;

constexpr double kMilliseconds = 1e3;
constexpr double kPercent = 100.0;

std::string milliseconds(const Spread& seconds) {
  return fmt::format("{:.1f} ({:.1f} to {:.1f})", kMilliseconds * seconds.median,
                     kMilliseconds * seconds.least, kMilliseconds * seconds.most);
}

const char* clock_name(const KvBenchSettings& settings) {
  return settings.clock == thread_cpu_seconds ? "processor time" : "wall time";
}

// What was measured, as name and value.
std::vector<std::pair<std::string, std::string>> facts(const BenchReport& report) {
  const KvBenchSettings& settings = report.settings;
  const BenchShape& shape = settings.shape;
  const Geometry& geometry = shape.geometry;
  const int last = geometry.num_scales() - 1;
  std::string layers = fmt::format("{} layers", shape.all_layers);
  if (geometry.layers != shape.all_layers) {
    layers += fmt::format(" ({} were run, times and bytes are scaled up)", geometry.layers);
  }
  return {
      {"machine", fmt::format("{}, {} threads; other programs took {:.1f} processors meanwhile",
                              processor_name(), report.threads, report.foreign_load)},
      {"version", fmt::format("{} ({})", NEXTSCALE_VERSION, NEXTSCALE_COMMIT)},
      {"shape", fmt::format("{}: {}, {} heads on {} kv heads of {}, {} scales, {} tokens",
                            shape.name, layers, geometry.query_heads, geometry.kv_heads,
                            geometry.head_dim, last + 1, geometry.tokens_through(last))},
      {"pictures", fmt::format("{} at a time as {} rows, products {}, cache {}", settings.images,
                               settings.images * settings.rows_per_image,
                               precision_name(settings.compute), precision_name(settings.cache))},
      {"inputs",
       fmt::format("random queries, keys and values of variance 1, seed {}; a calibration "
                   "of invented numbers",
                   settings.seed)},
      {"linear layers", fmt::format("{} ms: the blocks' four products (qkv, output, two of the "
                                    "feed-forward part), one layer's weights",
                                    milliseconds(report.result.linear))},
      {"columns",
       fmt::format("ms of {} of one generation, median of {} (least to most). Attention: the "
                   "operator alone. Scoring: statistics of candidates. Selection: the "
                   "policy's choice. Compaction: merging, and writing and moving cached "
                   "tokens. Overhead: scoring, selection and compaction as a share of "
                   "them, attention and the linear layers; norms, sampling and decoder "
                   "are not counted, so a whole generation's share is smaller. Held: "
                   "keys and values, the most at the end of a step",
                   clock_name(settings), settings.repeats)},
  };
}

Line header() {
  return {"policy",     "attention", "scoring", "selection",
          "compaction", "overhead",  "held",    "allocated"};
}

Line line_of(const PolicyCost& cost) {
  Line line{cost.kv};
  for (const Spread& stage : cost.stages) line.push_back(milliseconds(stage));
  line.push_back(fmt::format("{:.2f} %", kPercent * cost.overhead));
  line.push_back(format_bytes(cost.held_bytes));
  line.push_back(format_bytes(cost.allocated_bytes));
  return line;
}

std::string format_table(const std::vector<Line>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const Line& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      widths[column] = std::max(widths[column], line[column].size());
    }
  }
  std::string text;
  for (const Line& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      text += fmt::format("{:<{}}", line[column], widths[column] + 2);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string format_markdown(const std::vector<Line>& lines) {
  std::string text;
  for (size_t row = 0; row < lines.size(); ++row) {
    text += fmt::format("| {} |\n", fmt::join(lines[row], " | "));
    if (row > 0) continue;
    for (size_t column = 0; column < lines[row].size(); ++column) text += "| --- ";
    text += "|\n";
  }
  return text;
}

nlohmann::json json_of(const Spread& seconds) {
  return {{"median_ms", kMilliseconds * seconds.median},
          {"least_ms", kMilliseconds * seconds.least},
          {"most_ms", kMilliseconds * seconds.most}};
}

std::string format_json(const BenchReport& report) {
  const KvBenchSettings& settings = report.settings;
  nlohmann::json result{{"processor", processor_name()},
                        {"threads", report.threads},
                        {"foreign_load", report.foreign_load},
                        {"version", NEXTSCALE_VERSION},
                        {"commit", NEXTSCALE_COMMIT},
                        {"shape", settings.shape.name},
                        {"layers", settings.shape.all_layers},
                        {"layers_run", settings.shape.geometry.layers},
                        {"images", settings.images},
                        {"dtype", precision_name(settings.compute)},
                        {"kv_dtype", precision_name(settings.cache)},
                        {"clock", clock_name(settings)},
                        {"repeats", settings.repeats},
                        {"seed", settings.seed},
                        {"linear", json_of(report.result.linear)},
                        {"policies", nlohmann::json::array()}};
  for (const PolicyCost& cost : report.result.policies) {
    result["policies"].push_back({{"kv", cost.kv},
                                  {"attention", json_of(cost.of(Stage::kAttention))},
                                  {"scoring", json_of(cost.of(Stage::kScoring))},
                                  {"selection", json_of(cost.of(Stage::kSelection))},
                                  {"compaction", json_of(cost.of(Stage::kCompaction))},
                                  {"generation", json_of(cost.generation)},
                                  {"overhead", cost.overhead},
                                  {"held_bytes", cost.held_bytes},
                                  {"allocated_bytes", cost.allocated_bytes}});
  }
  return result.dump(2) + '\n';
}

}  // namespace

std::string format_report(const BenchReport& report, ReportFormat format) {
  if (format == ReportFormat::kJson) return format_json(report);
  std::vector<Line> lines{header()};
  for (const PolicyCost& cost : report.result.policies) lines.push_back(line_of(cost));
  std::string text;
  for (const auto& [name, value] : facts(report)) {
    text += format == ReportFormat::kMarkdown ? fmt::format("* {}: {}\n", name, value)
                                              : fmt::format("{:<14} {}\n", name, value);
  }
  text += '\n';
  return text + (format == ReportFormat::kMarkdown ? format_markdown(lines) : format_table(lines));
}

}  // namespace nextscale::cli
