// SPDX-License-Identifier: Apache-2.0
#include "compare/logits_divergence.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

namespace nextscale {
namespace {

constexpr std::string_view kLogits = "logits.";  // the guided ones of a scale

// ln sum exp of the logits.
double log_total(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

// sum_c p_c (ln p_c - ln q_c), p and q the softmax of the logits.
double divergence(std::span<const float> reference, std::span<const float> other) {
  const double reference_total = log_total(reference);
  const double other_total = log_total(other);
  double sum = 0;
  for (size_t at = 0; at < reference.size(); ++at) {
    const double log_p = static_cast<double>(reference[at]) - reference_total;
    const double log_q = static_cast<double>(other[at]) - other_total;
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return std::max(sum, 0.0);  // rounding may go below
}

}  // namespace

std::vector<double> mean_divergence(const ConstTensorView& reference,
                                    const ConstTensorView& other) {
  require_shape("compare: logits", other, reference.shape);
  const auto categories = static_cast<size_t>(reference.shape[reference.shape.rank() - 1]);
  const auto images = static_cast<size_t>(reference.shape[0]);
  const auto tokens = static_cast<double>(reference.shape[1]);
  const size_t rows = static_cast<size_t>(reference.shape.num_elements()) / categories / images;
  std::vector<double> means(images);
  for (size_t image = 0; image < images; ++image) {
    for (size_t row = image * rows; row < (image + 1) * rows; ++row) {
      means[image] += divergence({reference.as<float>() + row * categories, categories},
                                 {other.as<float>() + row * categories, categories});
    }
    means[image] /= tokens;
  }
  return means;
}

void ReferenceLogits::record(const std::string& name, const ConstTensorView& value) {
  if (!name.starts_with(kLogits)) return;
  Tensor copy(value.dtype, value.shape);
  std::memcpy(copy.as<std::byte>(), value.data, value.num_bytes());
  scales_.push_back(std::move(copy));
}

void LogitsDivergence::record(const std::string& name, const ConstTensorView& value) {
  if (!name.starts_with(kLogits)) return;
  const Tensor& reference = reference_.scales().at(per_scale_.size());
  per_scale_.push_back(mean_divergence(reference.view(), value));
}

}  // namespace nextscale
