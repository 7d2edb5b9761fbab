// SPDX-License-Identifier: Apache-2.0
#include "eval_report.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

namespace nextscale::cli {
namespace {

using nlohmann::json;

// In the order of Attribute.
constexpr std::array<const char*, kAttributeNames.size()> kTitles{
    "class",    "single object",     "two objects",    "count",
    "position", "background colour", "all as expected"};

std::string percent(const MeanInterval& value) {
  constexpr double kPercent = 100;
  return fmt::format("{:5.1f} % ({:.1f} to {:.1f}) of {}", kPercent * value.mean,
                     kPercent * value.low, kPercent * value.high, value.count);
}

void print_accuracies(const JudgedSet& set) {
  for (size_t attribute = 0; attribute < kTitles.size(); ++attribute) {
    const MeanInterval accuracy = set.accuracy(static_cast<Attribute>(attribute));
    if (accuracy.count == 0) continue;
    fmt::print("  {:<24} {}\n", kTitles[attribute], percent(accuracy));
  }
}

void print_set(const char* title, const std::string& where, const JudgedSet& set) {
  fmt::print("{}: {}, {} picture{}\n", title, where, set.size(), set.size() == 1 ? "" : "s");
  print_accuracies(set);
  fmt::print("  {:<24} {:7.3f}\n", "inception-style score", inception_score(set.class_scores()));
}

json to_json(const MeanInterval& value) {
  return {{"mean", value.mean}, {"low", value.low}, {"high", value.high}, {"count", value.count}};
}

json to_json(const std::string& where, const JudgedSet& set) {
  json accuracies = json::object();
  for (size_t attribute = 0; attribute < kAttributeNames.size(); ++attribute) {
    const MeanInterval accuracy = set.accuracy(static_cast<Attribute>(attribute));
    if (accuracy.count > 0) accuracies[std::string(kAttributeNames[attribute])] = to_json(accuracy);
  }
  return {{"from", where},
          {"count", set.size()},
          {"accuracies", accuracies},
          {"inception_score", inception_score(set.class_scores())}};
}

}  // namespace

void compare_with_reference(EvalReport& report, int num_threads) {
  const FeatureSet& reference = report.reference_seen->features();
  report.frechet_distance = frechet_distance(report.seen.features(), reference);
  const Coverage near = coverage(report.seen.features(), reference, num_threads);
  report.precision = bootstrap_mean(near.precision);
  report.recall = bootstrap_mean(near.recall);
}

void print_report(const EvalReport& report) {
  print_set("pictures", report.pictures, report.seen);
  if (report.reference_seen == nullptr) return;
  fmt::print("  {:<24} {:8.4f}\n", "Fréchet distance", *report.frechet_distance);
  fmt::print("  {:<24} {}\n", "precision", percent(report.precision));
  fmt::print("  {:<24} {}\n", "recall", percent(report.recall));
  // Its accuracies are the judge's own.
  print_set("reference", report.reference, *report.reference_seen);
}

json to_json(const EvalReport& report) {
  json result{{"judge", report.judge}, {"pictures", to_json(report.pictures, report.seen)}};
  if (!report.generation.is_null()) result["generation"] = report.generation;
  if (report.reference_seen == nullptr) return result;
  result["reference"] = to_json(report.reference, *report.reference_seen);
  result["frechet_distance"] = *report.frechet_distance;
  result["precision"] = to_json(report.precision);
  result["recall"] = to_json(report.recall);
  return result;
}

}  // namespace nextscale::cli
