// SPDX-License-Identifier: Apache-2.0
#include "plan/what_fits.h"

#include <fmt/format.h>

#include <algorithm>

#include "nextscale/error.h"

namespace nextscale {
namespace {

constexpr int64_t kMostImages = 1 << 20;  // more than anybody has memory for
constexpr int64_t kMostTenths = 1000;     // of a percent: 100 %
constexpr const char* kLeastBudget = "1tok";

// The largest number in [1, most] that `fits`, which holds up to some number and for none above; 0
// if it holds for none.
template <typename Fits>
int64_t largest_that(int64_t most, const Fits& fits) {
  int64_t low = 0;
  int64_t high = 1;
  while (high <= most && fits(high)) {
    low = high;
    high *= 2;
  }
  high = std::min(high, most + 1);
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

std::string percent_text(int64_t tenths) {
  return tenths % 10 == 0 ? fmt::format("{}%", tenths / 10)
                          : fmt::format("{}.{}%", tenths / 10, tenths % 10);
}

class FitSearch {
 public:
  FitSearch(const RunPlanner& planner, const PolicySpec& asked, uint64_t limit)
      : planner_(planner), limit_(limit), spec_(asked) {
    choose_knob();
  }

  bool fits(const RunQuestion& question) const { return peak(question) <= limit_; }

  int64_t largest_batch(const PolicySpec& spec) const {
    return largest_that(kMostImages, [&](int64_t images) { return fits({spec, images}); });
  }

  std::optional<MildestBudget> mildest(int64_t images) const {
    // Budgets that the policy refuses are too small for it, never too large.
    const int64_t tenths = largest_that(kMostTenths, [&](int64_t each) {
      return allowed_peak({with_budget(percent_text(each)), images}) <= limit_;
    });
    for (const std::string& budget : {percent_text(tenths), std::string(kLeastBudget)}) {
      const PolicySpec spec = with_budget(budget);
      const std::optional<RunPlan> plan = plan_if_allowed({spec, images});
      if (!plan || plan->peak > limit_) continue;
      return MildestBudget{
          .spec = to_text(spec), .images = images, .needs_calibration = plan->assumes_equal_heads};
    }
    return std::nullopt;
  }

  // What the least demanding run lacks.
  uint64_t missing_bytes(const PolicySpec& asked) const {
    uint64_t least = peak({asked, 1});
    const uint64_t smallest = allowed_peak({with_budget(kLeastBudget), 1});
    if (smallest > 0) least = std::min(least, smallest);
    return least - std::min(least, limit_);
  }

 private:
  // The setting that decides how much is cached. `full` has none: what keeps everything but part of
  // the cache is the mildest departure from it.
  void choose_knob() {
    if (spec_.name == "full") spec_ = {.name = "hackpp", .settings = {{"attn", "100%"}}};
    spec_.settings.erase("budget");
    spec_.settings.erase("cache");
    if (!plan_if_allowed({with_budget("100%"), 1})) knob_ = "budget";
  }

  PolicySpec with_budget(const std::string& budget) const {
    PolicySpec spec = spec_;
    spec.settings[knob_] = budget;
    return spec;
  }

  uint64_t peak(const RunQuestion& question) const { return planner_.plan(question, limit_).peak; }

  // Nothing where the policy refuses the setting: it does not have it, or wants more.
  std::optional<RunPlan> plan_if_allowed(const RunQuestion& question) const {
    try {
      return planner_.plan(question, limit_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUsage) throw;
      return std::nullopt;
    }
  }

  // 0 where the policy refuses the setting.
  uint64_t allowed_peak(const RunQuestion& question) const {
    const std::optional<RunPlan> plan = plan_if_allowed(question);
    return plan ? plan->peak : 0;
  }

  const RunPlanner& planner_;
  uint64_t limit_;
  PolicySpec spec_;  // without its budget
  std::string knob_ = "cache";
};

}  // namespace

FitAnswer what_fits(const RunPlanner& planner, const RunQuestion& question, uint64_t limit) {
  const FitSearch search(planner, question.spec, limit);
  FitAnswer answer;
  answer.fits = search.fits(question);
  answer.largest_batch = search.largest_batch(question.spec);
  if (answer.fits) return answer;
  answer.mildest = search.mildest(question.images);
  if (!answer.mildest && answer.largest_batch == 0 && question.images > 1) {
    answer.mildest = search.mildest(1);
  }
  if (!answer.mildest && answer.largest_batch == 0) {
    answer.missing_bytes = search.missing_bytes(question.spec);
  }
  return answer;
}

std::string to_text(const PolicySpec& spec) {
  std::string text = spec.name;
  char separator = ':';
  for (const auto& [key, value] : spec.settings) {
    text += fmt::format("{}{}={}", separator, key, value);
    separator = ',';
  }
  return text;
}

}  // namespace nextscale
