// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace nextscale::cli {

// From now on SIGINT and SIGTERM set the flag, once; a second one ends the process as usual.
const std::atomic<bool>& cancel_on_signal();

}  // namespace nextscale::cli
