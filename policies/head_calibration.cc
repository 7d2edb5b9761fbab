// SPDX-License-Identifier: Apache-2.0
#include "policies/head_calibration.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error_format.h"
#include "policies/settings.h"

namespace nextscale {
namespace {

constexpr double kDefaultAlpha = 0.2;

// Mean attention of one token of each source scale.
std::vector<float> scale_prior(const Calibration& calibration) {
  const size_t steps = calibration.scales.size();
  std::vector<float> phi;
  for (size_t at = 0; at < calibration.mass.size(); ++at) {
    const auto tokens = static_cast<double>(calibration.scales[at % steps].tokens());
    phi.push_back(static_cast<float>(calibration.mass[at] / tokens));
  }
  return phi;
}

std::vector<double> class_reliance(const Calibration& calibration,
                                   const std::vector<HeadClass>& classes) {
  const std::vector<double> gamma = history_reliance(calibration);
  const size_t steps = calibration.scales.size();
  const auto heads = static_cast<size_t>(calibration.kv_heads);
  std::vector<double> sums(static_cast<size_t>(calibration.layers * kHeadClasses) * steps);
  std::vector<double> members(sums.size());
  for (size_t at = 0; at < gamma.size(); ++at) {
    const size_t list = at / steps;
    const size_t group = list / heads * kHeadClasses + static_cast<size_t>(classes[list]);
    sums[group * steps + at % steps] += gamma[at];
    members[group * steps + at % steps] += 1.0;
  }
  for (size_t at = 0; at < sums.size(); ++at) sums[at] /= std::max(members[at], 1.0);
  return sums;
}

}  // namespace

std::vector<int64_t> HeadCalibration::group_sizes(const Geometry& geometry) const {
  std::vector<int64_t> sizes(static_cast<size_t>(geometry.layers * kHeadClasses));
  for (size_t list = 0; list < classes.size(); ++list) {
    const size_t layer = list / static_cast<size_t>(geometry.kv_heads);
    ++sizes[layer * kHeadClasses + static_cast<size_t>(classes[list])];
  }
  return sizes;
}

std::vector<HeadClass> head_classes(const Calibration& calibration, double alpha) {
  const size_t heads = calibration.sigma.size();
  std::vector<size_t> order(heads);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t list) { return calibration.sigma[list]; });
  std::vector<HeadClass> classes(heads, HeadClass::kStructural);
  const auto contextual = static_cast<size_t>(std::floor(alpha * static_cast<double>(heads) + 0.5));
  for (size_t rank = 0; rank < contextual; ++rank) classes[order[rank]] = HeadClass::kContextual;
  return classes;
}

std::vector<double> history_reliance(const Calibration& calibration) {
  const int steps = calibration.num_steps();
  std::vector<double> gamma;
  for (int64_t layer = 0; layer < calibration.layers; ++layer) {
    for (int64_t head = 0; head < calibration.kv_heads; ++head) {
      // From the last step backwards: each step adds its own mean attention to one token before it.
      std::vector<double> reliance(static_cast<size_t>(steps));
      for (int later = steps - 1; later > 0; --later) {
        double history = 0;
        double tokens = 0;
        for (int source = 0; source < later; ++source) {
          history += calibration.mass_of({layer, head}, later, source);
          tokens += static_cast<double>(calibration.scales[static_cast<size_t>(source)].tokens());
        }
        const auto at = static_cast<size_t>(later);
        reliance[at - 1] = reliance[at] + history / tokens;
      }
      gamma.insert(gamma.end(), reliance.begin(), reliance.end());
    }
  }
  return gamma;
}

HeadCalibration head_calibration(const Calibration& calibration, double alpha) {
  HeadCalibration result;
  result.classes = head_classes(calibration, alpha);
  result.phi = scale_prior(calibration);
  result.reliance = class_reliance(calibration, result.classes);
  return result;
}

double alpha_setting(const PolicySpec& spec) {
  return number_setting(spec, "alpha", kDefaultAlpha, 0.0, 1.0);
}

void require_measured(const PolicyContext& context, std::string_view policy) {
  if (!context.calibration->mass.empty() && !context.calibration->sigma.empty()) return;
  fail(ErrorCode::kMismatch,
       "--kv: policy '{}' wants measured attention, the calibration holds imported results alone; "
       "make one with `nextscale calibrate -m MODEL -n 50 -o FILE`",
       policy);
}

}  // namespace nextscale
