// SPDX-License-Identifier: Apache-2.0
#include "compare/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "calibrate/chart.h"
#include "calibrate/report_style.h"
#include "compare/summary.h"
#include "core/error_format.h"
#include "core/memory_info.h"

namespace nextscale {
namespace {

// What differs from the report of a calibration: room for pictures side by side.
constexpr std::string_view kPageStyle = R"css(
main { max-width: 1320px; }
.scroll.all { max-height: none; }
figure td .i { color: var(--soft); margin-left: 4px; }
td.q0 { background: var(--q0); } td.q1 { background: var(--q1); } td.q2 { background: var(--q2); }
td.q3 { background: var(--q3); } td.q4 { background: var(--q4); } td.q5 { background: var(--q5); }
td.q6 { background: var(--q6); } td.q7 { background: var(--q7); } td.q8 { background: var(--q8); }
td.q5, td.q6, td.q7, td.q8 { color: var(--card); }
td.q0, td.q1, td.q2, td.q3, td.q4, td.q5, td.q6, td.q7, td.q8 { padding: 3px 8px; }
.pictures th, .pictures td { border: 0; text-align: left; vertical-align: bottom; }
.pictures th { white-space: normal; overflow-wrap: anywhere; }
.pictures img { display: block; width: 192px; height: auto; border-radius: 4px; }
.pictures .n { color: var(--soft); white-space: normal; min-width: 90px; max-width: 160px;
  overflow-wrap: anywhere; }
)css";

constexpr size_t kShownNameBytes = 80;

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t byte = 0; byte < count; ++byte) {
      group |= std::to_integer<uint32_t>(bytes[at + byte]) << (16 - 8 * byte);
    }
    for (size_t digit = 0; digit < 4; ++digit) {
      out += digit <= count ? kDigits[(group >> (18 - 6 * digit)) & 63U] : '=';
    }
  }
  return out;
}

std::string figure(std::string_view title, std::string_view words, std::string_view content) {
  return fmt::format(
      "<figure>\n<h2>{}</h2>\n<p>{}</p>\n<div class=\"scroll all\">{}</div></figure>\n",
      html_text(title), html_text(words), content);
}

// The interval in a lighter colour behind the mean.
template <typename Write>
std::string with_interval(const MeanInterval& value, const Write& write) {
  return fmt::format("{}<span class=\"i\">[{}, {}]</span>", write(value.mean), write(value.low),
                     write(value.high));
}

std::string cell(std::string_view content) { return fmt::format("<td>{}</td>", content); }

std::string one_digit(double value) { return fmt::format("{:.1f}", value); }

std::string name_cell(const std::string& kv) {
  return cell(fmt::format("<code>{}</code>", html_text(printable(kv))));
}

class Page {
 public:
  Page(const Comparison& comparison, const std::string& model)
      : comparison_(comparison), model_(model) {
    for (size_t policy = 1; policy < comparison.policies.size(); ++policy) {
      differences_.push_back(summarize(comparison, policy));
    }
  }

  std::string html() const {
    const std::string title = "Cache policies on " + html_text(printable(model_));
    return "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<title>" +
           title + "</title>\n<style>" + std::string(kReportStyle) + std::string(kPageStyle) +
           "</style>\n<main>\n<h1>" + title + "</h1>\n" + lead() + overview() + by_scale() +
           judge() + pictures() + facts() + "</main>\n</html>\n";
  }

 private:
  const std::string& reference() const { return comparison_.policies.front().kv; }

  std::string lead() const {
    return fmt::format(
        "<p class=\"lead\">{} pictures of {} subjects with the same seeds under each policy; {} is "
        "what the others are measured against.</p>\n",
        comparison_.pictures.size(), comparison_.subjects.size(),
        html_text(printable(reference())));
  }

  std::string overview() const {
    std::string table =
        "<table><tr><th>policy</th><th>KV bytes</th><th>of the reference</th><th>ms per "
        "picture</th><th>PSNR, dB</th><th>SSIM</th><th>equal tokens</th><th>KL per token, "
        "nats</th><th>identical</th></tr>\n";
    for (size_t policy = 0; policy < comparison_.policies.size(); ++policy) {
      table += overview_row(policy);
    }
    return figure(
        "Cost and difference",
        fmt::format(
            "KV bytes: the most that keys and values of one picture take at the end of a step. "
            "Time: all scales of one picture, without decoding. Means over the pictures, with "
            "bootstrap intervals of {:.0f} %. KL is of the logits of a run that is given the "
            "reference's tokens, against the reference's; all else is of runs that choose their "
            "own. PSNR of identical pictures has no bound; they count as if one value differed by "
            "one level.",
            100 * BootstrapOptions{}.coverage),
        table + "</table>");
  }

  std::string overview_row(size_t policy) const {
    const PolicyMeasures& measures = comparison_.policies[policy];
    const auto reference_bytes = static_cast<double>(comparison_.policies.front().kv_bytes);
    std::string row = "<tr>" + name_cell(measures.kv);
    row += fmt::format("<td>{}</td><td>{:.1f} %</td>", format_bytes(measures.kv_bytes),
                       100 * static_cast<double>(measures.kv_bytes) / reference_bytes);
    row += cell(with_interval(mean_time(measures), one_digit));
    if (policy == 0) return row + "<td></td><td></td><td></td><td></td><td></td></tr>\n";
    const DifferenceSummary& difference = differences_[policy - 1];
    row += cell(with_interval(difference.psnr, one_digit));
    for (const MeanInterval& value :
         {difference.ssim, difference.agreement, difference.divergence}) {
      row += cell(with_interval(value, short_number));
    }
    return row + fmt::format("<td>{}</td></tr>\n", difference.num_identical);
  }

  // Every policy, the reference first; nothing if nobody looked.
  std::string judge() const {
    std::string rows;
    for (const PolicyMeasures& measures : comparison_.policies) {
      const auto scores = judge_scores(measures);
      if (scores.empty()) continue;
      rows += "<tr>" + name_cell(measures.kv);
      for (const auto& [name, score] : scores) {
        rows += cell(html_text(name) + " " + with_interval(score, short_number));
      }
      rows += "</tr>\n";
    }
    if (rows.empty()) return {};
    return figure("What the judge sees",
                  "Shares of the pictures that pass: with the right sprite (single), both of two, "
                  "their number, their places, the background's colour, and all of it; as far as "
                  "it is known what they should show. Same: the judge sees what it sees in the "
                  "reference's picture.",
                  "<table>" + rows + "</table>");
  }

  // ---- By scale ---------------------------------------------------------------------------------

  std::string by_scale() const {
    return figure("KL of the logits by scale",
                  "Nats per token, mean over the pictures, when every scale before was the "
                  "reference's. The stronger the colour, the larger, on a logarithmic scale.",
                  scale_table(&DifferenceSummary::divergence_per_scale)) +
           figure("Equal tokens by scale",
                  "Share of labels that the policy's own run has in common with the reference's.",
                  scale_table(&DifferenceSummary::agreement_per_scale));
  }

  std::string scale_table(std::vector<MeanInterval> DifferenceSummary::*values) const {
    std::string table = "<table><tr><th>policy</th>";
    for (const ComparedScale& scale : comparison_.scales) {
      table += fmt::format("<th>{}x{}</th>", scale.height, scale.width);
    }
    table += "</tr>\n";
    const bool has_colours = values == &DifferenceSummary::divergence_per_scale;
    for (size_t row = 0; row < differences_.size(); ++row) {
      table += "<tr>" + name_cell(comparison_.policies[row + 1].kv);
      for (const MeanInterval& value : differences_[row].*values) {
        table += fmt::format("<td{} title=\"{} to {}\">{}</td>",
                             has_colours ? colour_of(value.mean) : "", short_number(value.low),
                             short_number(value.high), short_number(value.mean));
      }
      table += "</tr>\n";
    }
    return table + "</table>";
  }

  // Nine steps, one for each half of a power of ten, the last from 1 nat on.
  static std::string colour_of(double divergence) {
    constexpr int kStrongest = 8;
    const int colour =
        divergence <= 0 ? 0 : static_cast<int>(std::floor(kStrongest + 2 * std::log10(divergence)));
    return fmt::format(" class=\"q{}\"", std::clamp(colour, 0, kStrongest));
  }

  // ---- Pictures ---------------------------------------------------------------------------------

  std::string pictures() const {
    if (comparison_.shown.empty()) return {};
    std::string table = "<table class=\"pictures\"><tr><th></th>";
    for (const PolicyMeasures& measures : comparison_.policies) {
      table += fmt::format("<th>{}</th>", html_text(printable(measures.kv)));
    }
    table += "</tr>\n";
    for (const ShownPicture& shown : comparison_.shown) {
      table += picture_row(shown, shown.pictures, "picture", caption(shown.picture));
      table += picture_row(shown, shown.differences, "difference", "difference");
    }
    return figure("Pictures",
                  fmt::format("{} of {}. Below each its difference from {}: of the levels of red, "
                              "green and blue, {} times as large as it is.",
                              comparison_.shown.size(), comparison_.pictures.size(),
                              printable(reference()), kDifferenceFactor),
                  table + "</table>");
  }

  std::string caption(const ComparedPicture& picture) const {
    return fmt::format(
        "{}, picture {}",
        printable(comparison_.subjects[static_cast<size_t>(picture.subject)], kShownNameBytes),
        picture.image_index);
  }

  std::string picture_row(const ShownPicture& shown,
                          const std::vector<std::vector<std::byte>>& files, std::string_view what,
                          const std::string& name) const {
    std::string row = fmt::format("<tr><td class=\"n\">{}</td>", html_text(name));
    for (size_t policy = 0; policy < files.size(); ++policy) {
      row += "<td>";
      if (!files[policy].empty()) {
        row += fmt::format(
            "<img alt=\"{} of {}\" width=\"{}\" height=\"{}\" src=\"data:image/png;base64,{}\">",
            what, html_text(printable(comparison_.policies[policy].kv)), shown.width, shown.height,
            base64(files[policy]));
      }
      row += "</td>";
    }
    return row + "</tr>\n";
  }

  std::string facts() const {
    std::string list = "<figure><h2>Settings</h2><dl>";
    const auto add = [&](std::string_view name, std::string_view value) {
      list += fmt::format("<dt>{}</dt><dd>{}</dd>", html_text(name), html_text(value));
    };
    const auto settings = nlohmann::json::parse(comparison_.settings);
    for (const auto& [name, value] : settings.items()) {
      add(name, printable(value.is_string() ? value.get<std::string>() : value.dump()));
    }
    add("seed", std::to_string(comparison_.seed));
    add("pictures at a time", std::to_string(comparison_.batch));
    for (const PolicyMeasures& measures : comparison_.policies) {
      if (measures.calibration_sha256.empty()) continue;
      add("calibration of " + printable(measures.kv), measures.calibration_sha256);
    }
    return list + "</dl></figure>\n";
  }

  const Comparison& comparison_;
  const std::string& model_;
  std::vector<DifferenceSummary> differences_;  // without the reference
};

}  // namespace

std::string comparison_page(const Comparison& comparison, const std::string& model) {
  return Page(comparison, model).html();
}

}  // namespace nextscale
