// SPDX-License-Identifier: Apache-2.0
#include "policies/spec.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error_format.h"
#include "core/suggest.h"

namespace nextscale {
namespace {

void add_setting(std::string_view item, std::string_view text, PolicySpec* spec) {
  const size_t equals = item.find('=');
  if (equals == 0 || equals == std::string_view::npos || equals + 1 == item.size()) {
    fail(ErrorCode::kUsage, "--kv: got '{}' in '{}', wanted key=value; write name:key=value,...",
         printable(item), printable(text));
  }
  const std::string key(item.substr(0, equals));
  if (!spec->settings.emplace(key, item.substr(equals + 1)).second) {
    fail(ErrorCode::kUsage, "--kv: '{}' is given twice in '{}'; give it once", printable(key),
         printable(text));
  }
}

}  // namespace

PolicySpec parse_policy_spec(std::string_view text) {
  PolicySpec spec;
  const size_t colon = text.find(':');
  spec.name = text.substr(0, colon);
  if (spec.name.empty()) {
    fail(ErrorCode::kUsage, "--kv: got '{}', wanted a policy name; `nextscale policies` lists them",
         printable(text));
  }
  if (colon == std::string_view::npos) return spec;
  std::string_view rest = text.substr(colon + 1);
  while (true) {
    const size_t comma = rest.find(',');
    add_setting(rest.substr(0, comma), text, &spec);
    if (comma == std::string_view::npos) return spec;
    rest.remove_prefix(comma + 1);
  }
}

void require_known_settings(const PolicySpec& spec, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : spec.settings) {
    if (std::ranges::find(known, key) != known.end()) continue;
    if (known.size() == 0) {
      fail(ErrorCode::kUsage, "--kv: policy '{}' has no settings, got '{}={}'; write --kv {}",
           spec.name, printable(key), printable(value), spec.name);
    }
    fail(ErrorCode::kUsage, "--kv: policy '{}' has no setting '{}'{}; it knows {}", spec.name,
         printable(key), did_you_mean(key, {known.begin(), known.size()}), fmt::join(known, ", "));
  }
}

}  // namespace nextscale
