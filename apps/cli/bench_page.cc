// SPDX-License-Identifier: Apache-2.0
#include "bench_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/machine.h"
#include "commit.h"

namespace nextscale::cli {
namespace {

constexpr double kMilliseconds = 1e3;

std::string format_table(const BenchPage::Table& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      widths[column] = std::max(widths[column], line[column].size());
    }
  }
  std::string text;
  for (const auto& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      text += fmt::format("{:<{}}", line[column], widths[column] + 2);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

std::string format_markdown(const BenchPage::Table& lines) {
  std::string text;
  for (size_t row = 0; row < lines.size(); ++row) {
    text += fmt::format("| {} |\n", fmt::join(lines[row], " | "));
    if (row > 0) continue;
    for (size_t column = 0; column < lines[row].size(); ++column) text += "| --- ";
    text += "|\n";
  }
  return text;
}

}  // namespace

void BenchPage::add_machine(int threads, double foreign_load) {
  facts.emplace_back("machine",
                     fmt::format("{}, {} threads; other programs took {:.1f} processors meanwhile",
                                 processor_name(), threads, foreign_load));
  facts.emplace_back("version", fmt::format("{} ({})", NEXTSCALE_VERSION, NEXTSCALE_COMMIT));
  json["processor"] = processor_name();
  json["threads"] = threads;
  json["foreign_load"] = foreign_load;
  json["version"] = NEXTSCALE_VERSION;
  json["commit"] = NEXTSCALE_COMMIT;
}

std::string BenchPage::format(ReportFormat format) const {
  if (format == ReportFormat::kJson) return json.dump(2) + '\n';
  const bool is_markdown = format == ReportFormat::kMarkdown;
  std::string text;
  for (const auto& [name, value] : facts) {
    text += is_markdown ? fmt::format("* {}: {}\n", name, value)
                        : fmt::format("{:<14} {}\n", name, value);
  }
  for (const Table& table : tables) {
    text += '\n' + (is_markdown ? format_markdown(table) : format_table(table));
  }
  return text;
}

std::string spread_text(const Spread& seconds) {
  return fmt::format("{:.1f} ({:.1f} to {:.1f})", kMilliseconds * seconds.median,
                     kMilliseconds * seconds.least, kMilliseconds * seconds.most);
}

nlohmann::json spread_json(const Spread& seconds) {
  return {{"median_ms", kMilliseconds * seconds.median},
          {"least_ms", kMilliseconds * seconds.least},
          {"most_ms", kMilliseconds * seconds.most}};
}

}  // namespace nextscale::cli
