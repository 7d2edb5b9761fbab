// SPDX-License-Identifier: Apache-2.0
// The uncompressed cache: every step attends all earlier tokens and its own (the published models'
// own behaviour). No knobs. The last scale is not stored, because no later step reads it.
#include "policies/full.h"

namespace nextscale {
namespace {

class Full : public Policy {
 public:
  Schedule schedule(const Geometry& geometry) const override {
    Schedule result(geometry.num_scales(), geometry.layers, geometry.kv_heads);
    for (int step = 0; step < geometry.num_scales(); ++step) {
      const int64_t candidates = geometry.tokens_through(step);
      const bool is_last = step + 1 == geometry.num_scales();
      for (int64_t layer = 0; layer < geometry.layers; ++layer) {
        for (int64_t head = 0; head < geometry.kv_heads; ++head) {
          result.attended(step, layer, head) = candidates;
          result.cached(step, layer, head) = is_last ? 0 : candidates;
        }
      }
    }
    return result;
  }
};

}  // namespace

std::unique_ptr<Policy> make_full(const PolicySpec& spec, const PolicyContext& /*context*/) {
  require_known_settings(spec, {});
  return std::make_unique<Full>();
}

}  // namespace nextscale
