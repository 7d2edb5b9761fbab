// SPDX-License-Identifier: Apache-2.0
#include "judge/set_metrics.h"

// Its own threads would be a second set beside core/parallel.h, and could change last bits.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "core/error_format.h"
#include "core/parallel.h"

namespace nextscale {
namespace {

using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

void require_size(const char* metric, int64_t size, int64_t least, const char* why) {
  if (size >= least) return;
  fail(ErrorCode::kUsage,
       "judge: the {} got a set of {} pictures, wanted at least {}, {}; give more pictures", metric,
       size, least, why);
}

void require_alike(const FeatureSet& one, const FeatureSet& other) {
  if (one.channels() == other.channels()) return;
  fail(ErrorCode::kMismatch,
       "judge: got sets with {} and {} features a picture, wanted the same judge for both",
       one.channels(), other.channels());
}

struct Gaussian {
  Vector mean;
  Matrix covariance;
};

Gaussian fit(const FeatureSet& set) {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Matrix values = Eigen::Map<const Rows>(set.data(), set.size(), set.channels()).cast<double>();
  const Vector mean = values.colwise().mean();
  values.rowwise() -= mean.transpose();
  return {.mean = mean,
          .covariance = values.transpose() * values / static_cast<double>(set.size() - 1)};
}

// Rounding may leave eigenvalues of a covariance just below 0.
Vector roots(const Vector& eigenvalues) { return eigenvalues.cwiseMax(0.0).cwiseSqrt(); }

Matrix square_root(const Matrix& covariance) {
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(covariance);
  return solver.eigenvectors() * roots(solver.eigenvalues()).asDiagonal() *
         solver.eigenvectors().transpose();
}

// tr((one other)^(1/2)).
double trace_of_root(const Matrix& one, const Matrix& other) {
  const Matrix root = square_root(one);
  const Matrix product = root * other * root;
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(product, Eigen::EigenvaluesOnly);
  return roots(solver.eigenvalues()).sum();
}

std::vector<double> softmax(std::span<const float> scores) {
  const double highest = *std::ranges::max_element(scores);
  std::vector<double> result;
  double sum = 0;
  for (const float score : scores) {
    result.push_back(std::exp(score - highest));
    sum += result.back();
  }
  for (double& each : result) each /= sum;
  return result;
}

// -p ln p, continued to 0.
double surprise(double probability) {
  return probability > 0 ? -probability * std::log(probability) : 0.0;
}

float squared_distance(std::span<const float> one, std::span<const float> other) {
  using Row = Eigen::Map<const Eigen::VectorXf>;
  return (Row(one.data(), std::ssize(one)) - Row(other.data(), std::ssize(other))).squaredNorm();
}

// Of every picture, the squared distance to its k-th nearest neighbour in the set.
std::vector<float> squared_reaches(const FeatureSet& set, int64_t k, int num_threads) {
  std::vector<float> reaches(static_cast<size_t>(set.size()));
  std::vector<std::vector<float>> scratch(static_cast<size_t>(num_threads));
  for (auto& each : scratch) each.resize(static_cast<size_t>(set.size()));
  parallel_for(num_threads, set.size(), [&](int64_t index, int worker) {
    std::vector<float>& distances = scratch[static_cast<size_t>(worker)];
    for (int64_t other = 0; other < set.size(); ++other) {
      distances[static_cast<size_t>(other)] = squared_distance(set.row(index), set.row(other));
    }
    distances[static_cast<size_t>(index)] = HUGE_VALF;  // itself
    const auto place = distances.begin() + (k - 1);
    std::nth_element(distances.begin(), place, distances.end());
    reaches[static_cast<size_t>(index)] = *place;
  });
  return reaches;
}

std::vector<double> near(const FeatureSet& pictures, const FeatureSet& set, int64_t k,
                         int num_threads) {
  const std::vector<float> reaches = squared_reaches(set, k, num_threads);
  std::vector<double> result(static_cast<size_t>(pictures.size()));
  parallel_for(num_threads, pictures.size(), [&](int64_t index, int) {
    bool is_near = false;
    for (int64_t other = 0; other < set.size() && !is_near; ++other) {
      is_near = squared_distance(pictures.row(index), set.row(other)) <=
                reaches[static_cast<size_t>(other)];
    }
    result[static_cast<size_t>(index)] = is_near ? 1.0 : 0.0;
  });
  return result;
}

}  // namespace

void FeatureSet::add(std::span<const float> features) {
  NEXTSCALE_ASSERT(static_cast<int64_t>(features.size()) == channels_);
  values_.insert(values_.end(), features.begin(), features.end());
}

void require_frechet_size(int64_t pictures, int64_t channels) {
  require_size("Fréchet distance", pictures, min_frechet_size(channels),
               "one more than there are features");
}

double frechet_distance(const FeatureSet& one, const FeatureSet& other) {
  require_alike(one, other);
  for (const FeatureSet* set : {&one, &other}) {
    require_frechet_size(set->size(), set->channels());
  }
  const Gaussian first = fit(one);
  const Gaussian second = fit(other);
  return (first.mean - second.mean).squaredNorm() + first.covariance.trace() +
         second.covariance.trace() - 2 * trace_of_root(first.covariance, second.covariance);
}

double inception_score(const FeatureSet& class_scores) {
  require_size("inception-style score", class_scores.size(), 1, "to have a mean");
  // The mean divergence is the entropy of the mean less the mean entropy.
  std::vector<double> sum(static_cast<size_t>(class_scores.channels()), 0.0);
  double mean_entropy = 0;
  const auto count = static_cast<double>(class_scores.size());
  for (int64_t picture = 0; picture < class_scores.size(); ++picture) {
    const std::vector<double> probabilities = softmax(class_scores.row(picture));
    for (size_t each = 0; each < sum.size(); ++each) {
      sum[each] += probabilities[each];
      mean_entropy += surprise(probabilities[each]) / count;
    }
  }
  double entropy_of_mean = 0;
  for (const double each : sum) entropy_of_mean += surprise(each / count);
  return std::exp(entropy_of_mean - mean_entropy);
}

Coverage coverage(const FeatureSet& pictures, const FeatureSet& reference, int num_threads,
                  int64_t k) {
  require_alike(pictures, reference);
  for (const FeatureSet* set : {&pictures, &reference}) {
    require_size("precision and recall", set->size(), k + 1,
                 "more than the neighbours that are counted");
  }
  return {.precision = near(pictures, reference, k, num_threads),
          .recall = near(reference, pictures, k, num_threads)};
}

}  // namespace nextscale
