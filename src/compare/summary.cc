// SPDX-License-Identifier: Apache-2.0
#include "compare/summary.h"

#include <nlohmann/json.hpp>

namespace nextscale {
namespace {

using nlohmann::json;

// The mean of what `value` says of each picture.
template <typename Value>
MeanInterval mean_of(const PolicyMeasures& policy, const Value& value) {
  std::vector<double> values;
  values.reserve(policy.pictures.size());
  for (const PictureMeasures& picture : policy.pictures) values.push_back(value(picture));
  return bootstrap_mean(values);
}

// The judge's scores by number: its attributes, then whether it sees the same.
std::string_view score_name(size_t which) {
  return which < kAttributeNames.size() ? kAttributeNames[which] : "same";
}

std::optional<bool> passes(const PictureMeasures& picture, size_t which) {
  return which < kAttributeNames.size() ? picture.verdict[which] : picture.is_same;
}

json to_json(const MeanInterval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

json to_json(const std::vector<MeanInterval>& intervals) {
  json list = json::array();
  for (const MeanInterval& interval : intervals) list.push_back(to_json(interval));
  return list;
}

void add_difference(const Comparison& comparison, size_t policy, json& result) {
  const DifferenceSummary summary = summarize(comparison, policy);
  result["psnr"] = to_json(summary.psnr);
  result["ssim"] = to_json(summary.ssim);
  result["identical"] = summary.num_identical;
  result["agreement"] = to_json(summary.agreement);
  result["divergence"] = to_json(summary.divergence);
  result["agreement_per_scale"] = to_json(summary.agreement_per_scale);
  result["divergence_per_scale"] = to_json(summary.divergence_per_scale);
}

json pictures_of(const Comparison& comparison, size_t policy) {
  json list = json::array();
  for (size_t number = 0; number < comparison.pictures.size(); ++number) {
    const ComparedPicture& picture = comparison.pictures[number];
    const PictureMeasures& measures = comparison.policies[policy].pictures[number];
    json& each = list.emplace_back(json{{"subject", picture.subject},
                                        {"image", picture.image_index},
                                        {"milliseconds", measures.milliseconds}});
    for (size_t which = 0; which <= kAttributeNames.size(); ++which) {
      const std::optional<bool> passed = passes(measures, which);
      if (passed) each["judge"][std::string(score_name(which))] = *passed;
    }
    if (policy == 0) continue;
    each["psnr"] = measures.psnr;
    each["ssim"] = measures.ssim;
    each["agreement"] = over_scales(comparison.scales, measures.agreement);
    each["divergence"] = over_scales(comparison.scales, measures.divergence);
  }
  return list;
}

}  // namespace

DifferenceSummary summarize(const Comparison& comparison, size_t policy) {
  const PolicyMeasures& measures = comparison.policies[policy];
  const auto& scales = comparison.scales;
  using Picture = PictureMeasures;
  DifferenceSummary summary{
      .psnr = mean_of(measures, [](const Picture& each) { return each.psnr; }),
      .ssim = mean_of(measures, [](const Picture& each) { return each.ssim; }),
      .agreement = mean_of(
          measures, [&](const Picture& each) { return over_scales(scales, each.agreement); }),
      .divergence = mean_of(
          measures, [&](const Picture& each) { return over_scales(scales, each.divergence); })};
  for (const Picture& each : measures.pictures) summary.num_identical += each.is_identical;
  for (size_t scale = 0; scale < scales.size(); ++scale) {
    summary.agreement_per_scale.push_back(
        mean_of(measures, [=](const Picture& each) { return each.agreement[scale]; }));
    summary.divergence_per_scale.push_back(
        mean_of(measures, [=](const Picture& each) { return each.divergence[scale]; }));
  }
  return summary;
}

std::vector<std::pair<std::string, MeanInterval>> judge_scores(const PolicyMeasures& policy) {
  std::vector<std::pair<std::string, MeanInterval>> scores;
  for (size_t which = 0; which <= kAttributeNames.size(); ++which) {
    std::vector<double> values;
    for (const PictureMeasures& picture : policy.pictures) {
      const std::optional<bool> passed = passes(picture, which);
      if (passed) values.push_back(*passed ? 1.0 : 0.0);
    }
    if (!values.empty()) scores.emplace_back(score_name(which), bootstrap_mean(values));
  }
  return scores;
}

MeanInterval mean_time(const PolicyMeasures& policy) {
  return mean_of(policy, [](const PictureMeasures& each) { return each.milliseconds; });
}

json to_json(const Comparison& comparison) {
  json result{
      {"format", "nextscale-comparison"},
      {"version", 1},
      {"settings", json::parse(comparison.settings)},
      {"seed", comparison.seed},
      {"subjects", comparison.subjects},
      {"num_pictures", comparison.pictures.size()},
      {"batch", comparison.batch},
      {"scales", json::array()},
      {"bootstrap",
       {{"resamples", BootstrapOptions{}.resamples}, {"coverage", BootstrapOptions{}.coverage}}},
      {"policies", json::array()}};
  for (const ComparedScale& scale : comparison.scales) {
    result["scales"].push_back({scale.height, scale.width});
  }
  for (size_t policy = 0; policy < comparison.policies.size(); ++policy) {
    const PolicyMeasures& measures = comparison.policies[policy];
    json& each =
        result["policies"].emplace_back(json{{"kv", measures.kv},
                                             {"kv_bytes", measures.kv_bytes},
                                             {"milliseconds", to_json(mean_time(measures))}});
    if (!measures.calibration_sha256.empty()) {
      each["calibration_sha256"] = measures.calibration_sha256;
    }
    if (policy > 0) add_difference(comparison, policy, each);
    for (const auto& [name, score] : judge_scores(measures)) {
      each["judge"][name] = to_json(score);
      each["judge"][name]["count"] = score.count;
    }
    each["pictures"] = pictures_of(comparison, policy);
  }
  return result;
}

}  // namespace nextscale
