// SPDX-License-Identifier: Apache-2.0
#include "policies/protection.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>

#include "core/error_format.h"
#include "policies/selection.h"

namespace nextscale {
namespace {

constexpr float kAlways = std::numeric_limits<float>::infinity();

int64_t read_scale(const PolicySpec& spec, std::string_view text, int num_scales) {
  int64_t scale = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, scale);
  if (error == std::errc() && stop == end && scale >= 0 && scale < num_scales) return scale;
  fail(ErrorCode::kUsage,
       "--kv: policy '{}' got scale '{}' in protect, wanted 0 to {}; write for example protect=0+1",
       spec.name, printable(text), num_scales - 1);
}

}  // namespace

Protection::Protection(const std::vector<int64_t>& scales) {
  for (const int64_t scale : scales) {
    const auto at = static_cast<size_t>(scale);
    covered_.resize(std::max(covered_.size(), at + 1));
    covered_[at] = 1;
  }
}

void Protection::raise(const HeadStatistics& head, std::span<float> score) const {
  if (!any()) return;
  for (size_t token = 0; token < score.size(); ++token) {
    if (covers(head.scale_ids[token])) score[token] = kAlways;
  }
}

Protection protect_setting(const PolicySpec& spec, const PolicyContext& context) {
  const auto found = spec.settings.find("protect");
  if (found == spec.settings.end()) return {};
  std::vector<int64_t> scales;
  std::string_view rest = found->second;
  while (true) {
    const size_t plus = rest.find('+');
    scales.push_back(read_scale(spec, rest.substr(0, plus), context.geometry.num_scales()));
    if (plus == std::string_view::npos) return Protection(scales);
    rest.remove_prefix(plus + 1);
  }
}

void attend_top_then_rest(const Protection& protection, const HeadStatistics& head, int64_t n,
                          int64_t num_scored, Selection& selection) {
  protection.raise(head, selection.score.first(static_cast<size_t>(num_scored)));
  if (protection.any()) {
    const auto is_protected = [&](int64_t token) {
      return protection.covers(head.scale_ids[static_cast<size_t>(token)]);
    };
    int64_t count = 0;
    for (int64_t token = 0; token < num_scored; ++token) count += is_protected(token) ? 1 : 0;
    for (; count > n && num_scored < head.num_candidates; ++n, ++num_scored) {
      const bool stays = is_protected(num_scored);
      selection.score[static_cast<size_t>(num_scored)] = stays ? kAlways : -kAlways;
      count += stays ? 1 : 0;
    }
  }
  top(selection.score.first(static_cast<size_t>(num_scored)), n, selection.order, selection.attend);
  const auto rest = selection.attend.subspan(static_cast<size_t>(n),
                                             static_cast<size_t>(head.num_candidates - num_scored));
  std::iota(rest.begin(), rest.end(), static_cast<int32_t>(num_scored));
  selection.num_attend = n + static_cast<int64_t>(rest.size());
}

void attend_last(const Protection& protection, const HeadStatistics& head, Selection& selection) {
  // Without protection nothing is compared.
  if (protection.any()) std::ranges::fill(selection.score, -kAlways);
  attend_top_then_rest(protection, head, 0, head.num_candidates - head.num_attend, selection);
}

}  // namespace nextscale
