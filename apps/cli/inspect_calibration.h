// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace nextscale::cli {

enum class InspectForm { kText, kJson };

// Prints what a calibration file says about itself.
void inspect_calibration(const std::filesystem::path& path, InspectForm form);

}  // namespace nextscale::cli
