// SPDX-License-Identifier: Apache-2.0
// What one pass over a group's elements gathers. Double precision, so that subtracting the squared
// mean afterwards costs nothing that f32 results would show.
#pragma once

namespace nextscale::kernels::cpu {

struct Moments {
  double sum = 0.0;
  double squares = 0.0;
};

}  // namespace nextscale::kernels::cpu
