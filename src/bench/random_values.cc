// SPDX-License-Identifier: Apache-2.0
#include "bench/random_values.h"

#include <algorithm>

#include "core/parallel.h"
#include "core/rng.h"

namespace nextscale {

Tensor random_values(const Context& context, DType dtype, const Shape& shape, float range,
                     uint64_t seed) {
  Tensor result(dtype, shape);
  constexpr int64_t kBlock = 4096;
  const int64_t count = shape.num_elements();
  parallel_for(context.num_threads, (count + kBlock - 1) / kBlock, [&](int64_t block, int) {
    for (int64_t at = block * kBlock; at < std::min(count, (block + 1) * kBlock); ++at) {
      const RandomSite site{.seed = seed, .position = static_cast<uint32_t>(at)};
      const float value = range * (2.0F * uniform(site, 0) - 1.0F);
      if (dtype == DType::kBF16) {
        result.as<BFloat16>()[at] = to_bf16(value);
      } else {
        result.as<float>()[at] = value;
      }
    }
  });
  return result;
}

}  // namespace nextscale
