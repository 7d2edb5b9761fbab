// SPDX-License-Identifier: Apache-2.0
#include "policies/registry.h"

#include <array>
#include <vector>

#include "core/error_format.h"
#include "core/suggest.h"
#include "policies/cake.h"
#include "policies/full.h"
#include "policies/h2o.h"
#include "policies/hack.h"
#include "policies/hackpp.h"
#include "policies/heatkv.h"
#include "policies/lookm.h"
#include "policies/mass.h"
#include "policies/meda.h"
#include "policies/scalekv.h"
#include "policies/snapkv.h"
#include "policies/streaming.h"

namespace nextscale {
namespace {

constexpr std::array kPolicies{
    PolicyRow{"full", "keeps every token of every head", "the models' own behaviour",
              CalibrationUse::kNone, make_full},
    PolicyRow{"streaming", "the first tokens and the most recent ones",
              "StreamingLLM, arXiv 2309.17453", CalibrationUse::kNone, make_streaming},
    PolicyRow{"h2o", "the tokens with the most attention so far and the most recent ones",
              "H2O, arXiv 2306.14048", CalibrationUse::kNone, make_h2o},
    PolicyRow{"snapkv", "what a window of the last queries attends, and the window",
              "SnapKV, arXiv 2404.14469", CalibrationUse::kNone, make_snapkv},
    PolicyRow{"cake", "as snapkv, with variance in the score and a budget per layer",
              "CAKE, arXiv 2503.12491", CalibrationUse::kNone, make_cake},
    PolicyRow{"lookm", "as h2o, with evicted tokens merged into kept ones",
              "LOOK-M, arXiv 2406.18139", CalibrationUse::kNone, make_lookm},
    PolicyRow{"meda", "as lookm, with a budget per layer from attention entropy",
              "MEDA, arXiv 2502.17599", CalibrationUse::kNone, make_meda},
    PolicyRow{"hack", "budgets by head class, chosen by attention or by scale",
              "HACK, as told in arXiv 2606.08302", CalibrationUse::kRequired, make_hack},
    PolicyRow{"hackpp", "as hack, with a budget of its own for the cache, shared by reliance on it",
              "HACK++, arXiv 2606.08302", CalibrationUse::kRequired, make_hackpp},
    PolicyRow{"scalekv", "all to layers that draft, little to layers that refine",
              "ScaleKV, arXiv 2505.19602", CalibrationUse::kRequired, make_scalekv},
    PolicyRow{"heatkv", "takes whole scales from the heads that need them least",
              "HeatKV, arXiv 2605.14877", CalibrationUse::kRequired, make_heatkv},
    PolicyRow{"mass", "as hackpp, and what is dropped leaves its weight to its nearest",
              "Nextscale, docs/policies.md", CalibrationUse::kRequired, make_mass},
};

std::unique_ptr<Policy> make_row(const PolicyRow& row, const PolicySpec& spec,
                                 const PolicyContext& context) {
  if (row.calibration == CalibrationUse::kRequired) {
    if (context.calibration == nullptr) {
      fail(ErrorCode::kNotFound,
           "--kv: policy '{}' needs a calibration of the model, there is none; make one with "
           "`nextscale calibrate -m MODEL -n 50 -o FILE`",
           row.name);
    }
    require_calibration_of(*context.calibration, context.geometry);
  }
  return row.make(spec, context);
}

}  // namespace

std::span<const PolicyRow> policy_table() { return kPolicies; }

std::unique_ptr<Policy> make_policy(const PolicySpec& spec, const PolicyContext& context) {
  std::vector<std::string_view> names;
  for (const PolicyRow& row : kPolicies) {
    if (row.name == spec.name) return make_row(row, spec, context);
    names.push_back(row.name);
  }
  fail(ErrorCode::kUsage, "--kv: there is no policy '{}'{}; `nextscale policies` lists all",
       printable(spec.name), did_you_mean(spec.name, names));
}

}  // namespace nextscale
