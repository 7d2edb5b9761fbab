// SPDX-License-Identifier: Apache-2.0
#include "policies/registry.h"

#include <array>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "policies/cake.h"
#include "policies/full.h"
#include "policies/h2o.h"
#include "policies/lookm.h"
#include "policies/meda.h"
#include "policies/snapkv.h"
#include "policies/streaming.h"

namespace nextscale {
namespace {

constexpr std::array kPolicies{
    PolicyRow{"full", "keeps every token of every head", "the models' own behaviour", make_full},
    PolicyRow{"streaming", "the first tokens and the most recent ones",
              "StreamingLLM, arXiv 2309.17453", make_streaming},
    PolicyRow{"h2o", "the tokens with the most attention so far and the most recent ones",
              "H2O, arXiv 2306.14048", make_h2o},
    PolicyRow{"snapkv", "what a window of the last queries attends, and the window",
              "SnapKV, arXiv 2404.14469", make_snapkv},
    PolicyRow{"cake", "as snapkv, with variance in the score and a budget per layer",
              "CAKE, arXiv 2503.12491", make_cake},
    PolicyRow{"lookm", "as h2o, with evicted tokens merged into kept ones",
              "LOOK-M, arXiv 2406.18139", make_lookm},
    PolicyRow{"meda", "as lookm, with a budget per layer from attention entropy",
              "MEDA, arXiv 2502.17599", make_meda},
};

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
