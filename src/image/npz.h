// SPDX-License-Identifier: Apache-2.0
// A set of pictures as NumPy's .npz: what the evaluation tools of ADM (Dhariwal and Nichol,
// "Diffusion models beat GANs on image synthesis", NeurIPS 2021) and many FID tools read. Writes
// only; holds one picture at a time, and files of any size (ZIP64). Thread safe: no state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "nextscale/image.h"

namespace nextscale {

// Writes `arr_0`, uint8 [count, height, width, 3], uncompressed. picture(index) is called for
// 0 to count - 1 in order, the first one twice, since it says the size of all; it may throw to
// stop. The file appears complete or not at all. Throws Error: kUsage for no picture, kMismatch for
// one of another size, kIo.
void write_npz(const std::filesystem::path& path, int64_t count,
               const std::function<Image(int64_t index)>& picture);

}  // namespace nextscale
