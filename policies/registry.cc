// SPDX-License-Identifier: Apache-2.0
#include "policies/registry.h"

#include <array>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "policies/full.h"

namespace nextscale {
namespace {

constexpr std::array<PolicyRow, 1> kPolicies{{
    {"full", "keeps every token of every head", "the models' own behaviour", make_full},
}};

}  // namespace

std::span<const PolicyRow> policy_table() { return kPolicies; }

std::unique_ptr<Policy> make_policy(const PolicySpec& spec) {
  std::vector<std::string_view> names;
  for (const PolicyRow& row : kPolicies) {
    if (row.name == spec.name) return row.make(spec);
    names.push_back(row.name);
  }
  fail(ErrorCode::kUsage, "--kv: there is no policy '{}'{}; `nextscale policies` lists all",
       printable(spec.name), did_you_mean(spec.name, names));
}

}  // namespace nextscale
