// SPDX-License-Identifier: Apache-2.0
// How close two 8-bit pictures of equal size are. Pure functions; thread safe.
#pragma once

#include <cstdint>

#include "nextscale/image.h"

namespace nextscale {

// Mean over all values of the squared difference of levels (0 to 255). Throws Error(kMismatch) if
// the sizes differ, as all functions here do.
double mean_squared_error(const Image& one, const Image& other);

// Peak signal-to-noise ratio, 10 log10(255^2 / MSE) in dB. Of equal pictures it has no bound; they
// count as if one value differed by one level, the closest that pictures of this size can be.
double psnr(const Image& one, const Image& other);

// Structural similarity, at most 1 (Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment:
// from error visibility to structural similarity", IEEE TIP 13(4), 2004, Eq. 13): Gaussian window
// of 11x11 and 1.5 pixels, K1 = 0.01, K2 = 0.03, windows that lie inside the picture, mean over
// them and over red, green and blue. Throws Error(kUnsupported) for pictures below 11x11 pixels.
double ssim(const Image& one, const Image& other);

// Absolute difference of levels times `factor`, at most 255.
Image difference_map(const Image& one, const Image& other, int factor);

}  // namespace nextscale
