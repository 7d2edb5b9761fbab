// SPDX-License-Identifier: Apache-2.0
#include "policies/calibration.h"

#include <algorithm>
#include <string_view>

#include "core/error_format.h"

namespace nextscale {
namespace {

// Attention and its variances are far below, lengths too.
constexpr double kMost = 1e12;

void require_equal(std::string_view what, int64_t got, int64_t wanted) {
  if (got == wanted) return;
  fail(ErrorCode::kMismatch,
       "calibration: it was measured on a model with {} {}, this one has {}; make one with "
       "`nextscale calibrate -m MODEL -n 50 -o FILE`",
       got, what, wanted);
}

// What was not measured, or not imported, is absent.
void require_size_if_any(std::string_view what, size_t got, int64_t wanted) {
  if (got == 0 || static_cast<int64_t>(got) == wanted) return;
  fail(ErrorCode::kMismatch, "calibration: got {} values of '{}', wanted {}; make it anew", got,
       what, wanted);
}

void require_orders_of(const Calibration& calibration, const Geometry& geometry) {
  const int64_t lists = geometry.layers * geometry.kv_heads;
  require_size_if_any("removal_orders", calibration.removal_orders.size(), geometry.num_scales());
  for (const auto& order : calibration.removal_orders) {
    require_size_if_any("removal_orders", order.size(), lists);
    std::vector<bool> seen(static_cast<size_t>(lists));
    for (const LayerHead& each : order) {
      const bool is_inside = each.layer >= 0 && each.layer < geometry.layers && each.head >= 0 &&
                             each.head < geometry.kv_heads;
      const auto list = static_cast<size_t>(each.layer * geometry.kv_heads + each.head);
      if (is_inside && !seen[list]) {
        seen[list] = true;
        continue;
      }
      fail(ErrorCode::kMismatch,
           "calibration: 'removal_orders' names layer {} head {}, wanted every head of {} layers "
           "with {} heads once",
           each.layer, each.head, geometry.layers, geometry.kv_heads);
    }
  }
}

void require_budgets(const std::vector<int64_t>& budgets) {
  if (budgets.empty()) return;
  const bool any = std::ranges::any_of(budgets, [](int64_t budget) { return budget > 0; });
  if (any && std::ranges::all_of(budgets, [](int64_t budget) {
        return budget >= 0 && budget < static_cast<int64_t>(kMost);
      })) {
    return;
  }
  fail(ErrorCode::kMismatch,
       "calibration: 'layer_budgets' got negative ones or none at all, wanted tokens per head; "
       "import them anew");
}

}  // namespace

void require_calibration_of(const Calibration& calibration, const Geometry& geometry) {
  require_equal("layers", calibration.layers, geometry.layers);
  require_equal("key/value heads", calibration.kv_heads, geometry.kv_heads);
  require_equal("scales", calibration.num_steps(), geometry.num_scales());
  for (int scale = 0; scale < geometry.num_scales(); ++scale) {
    const Grid& got = calibration.scales[static_cast<size_t>(scale)];
    const Grid& wanted = geometry.scales[static_cast<size_t>(scale)];
    if (got == wanted) continue;
    fail(ErrorCode::kMismatch,
         "calibration: it was measured with {}x{} tokens at scale {}, this run has {}x{}; make one "
         "for this size with `nextscale calibrate`",
         got.height, got.width, scale, wanted.height, wanted.width);
  }
  const int64_t steps = geometry.num_scales();
  const int64_t lists = geometry.layers * geometry.kv_heads;
  require_size_if_any("mass", calibration.mass.size(), lists * steps * steps);
  require_size_if_any("sigma", calibration.sigma.size(), lists);
  require_size_if_any("asi", calibration.asi.size(), geometry.layers * steps);
  require_size_if_any("layer_budgets", calibration.layer_budgets.size(), steps * geometry.layers);
  require_size_if_any("drafters", calibration.drafters.size(), steps * geometry.layers);
  require_orders_of(calibration, geometry);
  for (const auto* values : {&calibration.mass, &calibration.sigma, &calibration.asi}) {
    if (std::ranges::all_of(*values, [](double value) { return value >= 0 && value < kMost; })) {
      continue;
    }
    fail(ErrorCode::kMismatch,
         "calibration: a statistic is negative or no number, wanted sums of attention; make it "
         "anew with `nextscale calibrate -m MODEL -n 50 -o FILE`");
  }
  require_budgets(calibration.layer_budgets);
}

Calibration flat_calibration(const Geometry& geometry) {
  Calibration result;
  result.layers = geometry.layers;
  result.kv_heads = geometry.kv_heads;
  result.scales = geometry.scales;
  for (int64_t list = 0; list < geometry.layers * geometry.kv_heads; ++list) {
    for (int step = 0; step < geometry.num_scales(); ++step) {
      const auto total = static_cast<double>(geometry.tokens_through(step));
      for (int source = 0; source < geometry.num_scales(); ++source) {
        const auto tokens = static_cast<double>(geometry.tokens(source));
        result.mass.push_back(source <= step ? tokens / total : 0.0);
      }
    }
    result.sigma.push_back(static_cast<double>(list % geometry.kv_heads));
  }
  result.asi.assign(static_cast<size_t>(geometry.layers * geometry.num_scales()), 0.0);
  return result;
}

}  // namespace nextscale
