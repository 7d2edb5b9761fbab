// SPDX-License-Identifier: Apache-2.0
#include "models/per_scale.h"

#include "core/error_format.h"

namespace nextscale {

std::vector<float> per_scale(std::string_view flag, const std::vector<float>& values,
                             int num_scales) {
  const auto wanted = static_cast<size_t>(num_scales);
  if (values.size() == 1) return std::vector<float>(wanted, values.front());
  if (values.size() >= wanted) return {values.begin(), values.begin() + num_scales};
  fail(ErrorCode::kUsage, "{}: got {} values, wanted one, or one for each of the {} scales", flag,
       values.size(), num_scales);
}

}  // namespace nextscale
