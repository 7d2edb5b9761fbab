// SPDX-License-Identifier: Apache-2.0
// How a policy is written on the command line: `name` or `name:key=value,key=value`.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

namespace nextscale {

struct PolicySpec {
  std::string name;
  std::map<std::string, std::string> settings;
};

// Throws Error(kUsage) if the text is not of that form or names a setting twice.
PolicySpec parse_policy_spec(std::string_view text);

// Throws Error(kUsage), naming what the policy does know, if `spec` has any other setting.
void require_known_settings(const PolicySpec& spec, std::initializer_list<std::string_view> known);

}  // namespace nextscale
