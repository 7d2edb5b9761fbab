// SPDX-License-Identifier: Apache-2.0
// How a set of pictures as a whole compares with another, on the features of a judge, and how
// clear and varied it is, on its class scores. Values compare only between sets seen by the same
// judge: they are not those of an Inception network. Thread safe: no state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nextscale {

// What was seen of a set: rows of equal length, one for each picture.
class FeatureSet {
 public:
  explicit FeatureSet(int64_t channels) : channels_(channels) {}

  void add(std::span<const float> features);  // [channels]
  int64_t size() const { return static_cast<int64_t>(values_.size()) / channels_; }
  int64_t channels() const { return channels_; }
  std::span<const float> row(int64_t index) const {
    return std::span(values_).subspan(static_cast<size_t>(index * channels_),
                                      static_cast<size_t>(channels_));
  }
  const float* data() const { return values_.data(); }  // [size, channels]

 private:
  int64_t channels_;
  std::vector<float> values_;
};

// |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of Gaussians fitted to both sets, the covariances
// divided by the number of pictures less one (Heusel et al., "GANs trained by a two time-scale
// update rule converge to a local Nash equilibrium", NeurIPS 2017, equation 6). The trace of the
// root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2). 0 for equal sets; biased
// upwards for small ones. Throws Error(kUsage) for a set of fewer than min_frechet_size() pictures,
// whose covariance would be singular, and Error(kMismatch) for sets of different channels.
double frechet_distance(const FeatureSet& one, const FeatureSet& other);
constexpr int64_t min_frechet_size(int64_t channels) { return channels + 1; }
// Throws that Error(kUsage), before the pictures are there.
void require_frechet_size(int64_t pictures, int64_t channels);

// exp of the mean over pictures of KL(p(y|x) || p(y)), p(y) being the mean of all p(y|x) (Salimans
// et al., "Improved techniques for training GANs", NeurIPS 2016, section 4), with p(y|x) the
// softmax of each class's best score in the picture (SeenPicture::class_scores). From 1 to the
// number of classes; of the whole set at once, not of ten parts. Throws Error(kUsage) for an empty
// set.
double inception_score(const FeatureSet& class_scores);

// For every picture of a set, whether it lies within reach of the other set.
struct Coverage {
  std::vector<double> precision;  // [pictures], 1 or 0: generated ones near reference ones
  std::vector<double> recall;  // [reference pictures], 1 or 0: reference ones near generated ones
};

// A picture is near a set if it lies in the ball around any of that set's pictures that reaches to
// its k-th nearest neighbour in the set, itself not counted (Kynkäänniemi et al., "Improved
// precision and recall metric for assessing generative models", NeurIPS 2019, equations 1 and 2).
// The means are precision and recall. Work grows with the product of the sizes. Throws
// Error(kUsage) for sets of k pictures or fewer, Error(kMismatch) for sets of different channels.
inline constexpr int64_t kNearestNeighbours = 3;  // the paper's choice
Coverage coverage(const FeatureSet& pictures, const FeatureSet& reference, int num_threads,
                  int64_t k = kNearestNeighbours);

}  // namespace nextscale
