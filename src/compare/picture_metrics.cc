// SPDX-License-Identifier: Apache-2.0
#include "compare/picture_metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "core/error_format.h"

namespace nextscale {
namespace {

constexpr double kPeak = 255.0;
constexpr int64_t kChannels = 3;

// Wang et al. 2004, section III.C.
constexpr int64_t kWindow = 11;
constexpr double kWindowSigma = 1.5;
constexpr double kC1 = (0.01 * kPeak) * (0.01 * kPeak);
constexpr double kC2 = (0.03 * kPeak) * (0.03 * kPeak);

void require_equal_sizes(const Image& one, const Image& other) {
  if (one.width == other.width && one.height == other.height && !one.rgb.empty()) return;
  fail(ErrorCode::kMismatch, "compare: got pictures of {}x{} and {}x{} pixels, wanted equal sizes",
       one.width, one.height, other.width, other.height);
}

std::array<double, kWindow> gaussian_window() {
  std::array<double, kWindow> weights{};
  double sum = 0;
  for (int64_t tap = 0; tap < kWindow; ++tap) {
    const auto distance = static_cast<double>(tap - kWindow / 2);
    weights[static_cast<size_t>(tap)] =
        std::exp(-distance * distance / (2 * kWindowSigma * kWindowSigma));
    sum += weights[static_cast<size_t>(tap)];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// One number for each pixel, [height, width].
struct Plane {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<double> values{};
};

// Weighted means along lines of `stride` steps, where the window lies inside: out[i] = sum_t
// w[t] in[i + t stride].
void filter_line(const double* in, int64_t stride, int64_t count, double* out) {
  static const std::array<double, kWindow> kWeights = gaussian_window();
  for (int64_t at = 0; at < count; ++at) {
    double sum = 0;
    for (int64_t tap = 0; tap < kWindow; ++tap) {
      sum += kWeights[static_cast<size_t>(tap)] * in[(at + tap) * stride];
    }
    out[at * stride] = sum;
  }
}

// Means under the window, in the upper left corner of what is [height, width].
Plane window_means(Plane plane) {
  const int64_t width = plane.width - kWindow + 1;
  const int64_t height = plane.height - kWindow + 1;
  double* const values = plane.values.data();
  for (int64_t row = 0; row < plane.height; ++row) {
    filter_line(values + row * plane.width, 1, width, values + row * plane.width);
  }
  for (int64_t column = 0; column < width; ++column) {
    filter_line(values + column, plane.width, height, values + column);
  }
  return plane;
}

// The window means of what `value` makes of both pictures' levels.
template <typename Value>
Plane means_of(const Image& one, const Image& other, int64_t channel, const Value& value) {
  Plane plane{one.width, one.height, {}};
  plane.values.reserve(static_cast<size_t>(one.width * one.height));
  for (auto at = static_cast<size_t>(channel); at < one.rgb.size(); at += kChannels) {
    plane.values.push_back(
        value(static_cast<double>(one.rgb[at]), static_cast<double>(other.rgb[at])));
  }
  return window_means(std::move(plane));
}

double channel_ssim(const Image& one, const Image& other, int64_t channel) {
  const auto means = [&](const auto& value) { return means_of(one, other, channel, value); };
  const Plane x = means([](double a, double) { return a; });
  const Plane y = means([](double, double b) { return b; });
  const Plane xx = means([](double a, double) { return a * a; });
  const Plane yy = means([](double, double b) { return b * b; });
  const Plane xy = means([](double a, double b) { return a * b; });
  const int64_t width = one.width - kWindow + 1;
  const int64_t height = one.height - kWindow + 1;
  double sum = 0;
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      const auto at = static_cast<size_t>(row * one.width + column);
      const double mx = x.values[at];
      const double my = y.values[at];
      const double variances = xx.values[at] - mx * mx + yy.values[at] - my * my;
      const double covariance = xy.values[at] - mx * my;
      sum += (2 * mx * my + kC1) * (2 * covariance + kC2) /
             ((mx * mx + my * my + kC1) * (variances + kC2));
    }
  }
  return sum / static_cast<double>(width * height);
}

}  // namespace

double mean_squared_error(const Image& one, const Image& other) {
  require_equal_sizes(one, other);
  int64_t sum = 0;
  for (size_t at = 0; at < one.rgb.size(); ++at) {
    const int64_t difference = int64_t{one.rgb[at]} - int64_t{other.rgb[at]};
    sum += difference * difference;
  }
  return static_cast<double>(sum) / static_cast<double>(one.rgb.size());
}

double psnr(const Image& one, const Image& other) {
  const double closest = 1.0 / static_cast<double>(one.rgb.size());
  return 10 * std::log10(kPeak * kPeak / std::max(mean_squared_error(one, other), closest));
}

double ssim(const Image& one, const Image& other) {
  require_equal_sizes(one, other);
  if (one.width < kWindow || one.height < kWindow) {
    fail(ErrorCode::kUnsupported,
         "compare: structural similarity of {}x{} pixels, wanted at least {}x{}; use a larger "
         "--size",
         one.width, one.height, kWindow, kWindow);
  }
  double sum = 0;
  for (int64_t channel = 0; channel < kChannels; ++channel) {
    sum += channel_ssim(one, other, channel);
  }
  return sum / static_cast<double>(kChannels);
}

Image difference_map(const Image& one, const Image& other, int factor) {
  require_equal_sizes(one, other);
  Image map{.width = one.width, .height = one.height, .rgb = {}};
  map.rgb.reserve(one.rgb.size());
  for (size_t at = 0; at < one.rgb.size(); ++at) {
    const int difference = std::abs(int{one.rgb[at]} - int{other.rgb[at]});
    map.rgb.push_back(static_cast<uint8_t>(std::min(difference * factor, 255)));
  }
  return map;
}

}  // namespace nextscale
